"""The stories of the synthetic pool: a small grammar of school problems, each sentence in two wordings.

In: a random generator. Out: questions and answers: right, reworded, with other numbers, or with a fault.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

_WHO = [
    "Tom",
    "Lena",
    "Mr. Okafor",
    "Xiao Ming",
    "the baker",
    "a farmer",
    "Priya",
    "the librarian",
    "Jonas",
    "our class",
]
_ITEM = ["apples", "tickets", "bricks", "pencils", "stamps", "marbles", "books", "tiles", "chairs", "bottles", "plants"]
_PLACE = ["in the garden", "at the market", "in the school hall", "on the roof", "near the river", "in the workshop"]
_SHAPE = ["rectangle", "parallelogram", "trapezoid", "rhombus", "triangle", "pentagon", "sector", "square"]
_PART = ["diagonal", "height", "shorter side", "longer side", "base", "median", "perimeter", "area"]
_COLOUR = ["red", "green", "striped", "grey", "yellow", "shaded", "dotted", "white"]
_INTRO = [
    ("As shown in the figure, ", "In the picture, "),
    ("", "Look at the drawing. "),
    ("According to the chart, ", ""),
]

# Each sentence in two wordings; the last asks. {a}, {b}, {c} are numbers, {p}, {q} letters of points.
_TEMPLATES: list[list[tuple[str, str]]] = [
    [
        ("{who} stores {a} {colour} {thing} {place}.", "{place}, {who} keeps {a} {thing} that are {colour}."),
        (
            "Every day {b} of them are sold for {c} yuan each.",
            "Of these, {b} go each day at a price of {c} yuan apiece.",
        ),
        ("How many days does the {colour} stock last?", "For how many days will the {colour} stock be enough?"),
    ],
    [
        (
            "the {shape} {p}{q} has a {part} of {a} cm and a {part2} of {b} cm.",
            "a {part} of {a} cm and a {part2} of {b} cm belong to {shape} {p}{q}.",
        ),
        (
            "A {colour} strip {c} mm wide runs along its {part2}.",
            "Along the {part2} lies a {colour} strip whose width is {c} mm.",
        ),
        ("Find the length of the {part3}.", "Work out how long the {part3} is."),
    ],
    [
        (
            "point {p} moves along the {part} of the {shape} at {a} units per second.",
            "along the {part} of the {shape}, {p} travels with speed {a} units a second.",
        ),
        (
            "After {b} seconds it meets {q}, which started {c} units away.",
            "It reaches {q}, that set out {c} units off, when {b} seconds have passed.",
        ),
        ("What is the distance {p}{q} measured on the {part2}?", "Determine how far {p} is from {q} on the {part2}."),
    ],
    [
        (
            "a survey {place} asked {a} people about {thing}.",
            "{a} people were asked about {thing} in a survey {place}.",
        ),
        (
            "{b} of them chose {colour} ones and {c} had none.",
            "Those who chose {colour} ones were {b}, and {c} owned none.",
        ),
        (
            "What is the number of people who chose another kind of {thing}?",
            "Calculate how many people took a different kind of {thing}.",
        ),
    ],
    [
        (
            "the function $y = {a}x^2 - {b}x + {c}$ passes through {p} and cuts the {colour} line at {q}.",
            "through {p} runs $y = {a}x^2 - {b}x + {c}$, and {q} is where it meets the {colour} line.",
        ),
        (
            "The {part} of the {shape} below the curve is marked.",
            "Marked is the {part} of that {shape} which lies under the curve.",
        ),
        ("Find the ordinate of the vertex.", "Compute the second coordinate of the vertex."),
    ],
    [
        (
            "a tank {place} is filled by {a} pipes and emptied by {b} {colour} valves.",
            "{a} pipes fill a tank {place}, which {b} {colour} valves empty.",
        ),
        (
            "One pipe alone needs {c} minutes for a {shape}-shaped basin.",
            "For a basin in the shape of a {shape}, a single pipe takes {c} minutes.",
        ),
        ("How many minutes pass before the tank is full?", "After how many minutes is the tank full?"),
    ],
    [
        (
            "{who} bought {a} {thing} and {who2} bought {b} {thing2} {place}.",
            "{place} {a} {thing} were bought by {who} and {b} {thing2} by {who2}.",
        ),
        (
            "Together they paid {c} dollars, with {colour} coins only.",
            "The two paid {c} dollars in all, using just {colour} coins.",
        ),
        ("What did one of the {thing2} cost?", "Find the price of one of the {thing2}."),
    ],
    [
        (
            "a ladder of {a} m leans on a {colour} wall {place}.",
            "against a {colour} wall {place} stands a ladder, {a} m long.",
        ),
        (
            "Its foot {p} is {b} dm from the wall, and {q} marks the rung number {c}.",
            "From the wall to the foot {p} it is {b} dm; rung number {c} is marked {q}.",
        ),
        ("How high above the ground is {q}?", "Compute the height of {q} over the ground."),
    ],
]


@dataclass(frozen=True)
class Story:
    """A problem in words. `slots` fill the template; a story's answer is a number, a formula, or an option."""

    template: int
    intro: int
    slots: tuple[tuple[str, str], ...]
    answer: str
    options: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """The question in its first wording."""
        return self._said([0] * 3, 0)

    def reworded(self, rng: random.Random) -> str:
        """Return the question in other words, with the same numbers."""
        wordings = [rng.randrange(2) for _ in range(3)]
        wordings[rng.randrange(3)] = 1
        return self._said(wordings, rng.randrange(2))

    def renumbered(self, rng: random.Random) -> Story:
        """Return the same story with other numbers."""
        slots = dict(self.slots) | {name: str(rng.randint(100, 999)) for name in "abc"}
        return replace(self, slots=tuple(slots.items()))

    def setting(self) -> str:
        """Return the question without what is asked."""
        return self._said([0] * 3, 0, asks=False)

    def _said(self, wordings: list[int], intro: int, asks: bool = True) -> str:
        sentences = [pair[which] for pair, which in zip(_TEMPLATES[self.template], wordings, strict=True)]
        told = [sentence.format_map(dict(self.slots)) for sentence in sentences[: 3 if asks else 2]]
        text = _INTRO[self.intro][intro] + " ".join(
            one[0].upper() + one[1:] if at else one for at, one in enumerate(told)
        )
        options = "".join(f" {letter}. {option}" for letter, option in zip("ABCD", self.options, strict=False))
        return text[0].upper() + text[1:] + options * asks


def story(rng: random.Random) -> Story:
    """Draw a story with its answer."""
    who, thing, part = (rng.sample(words, 3) for words in (_WHO, _ITEM, _PART))
    letters = rng.sample("ABCDEFGHKLMNPQRST", 2)
    slots = {"who": who[0], "who2": who[1], "thing": thing[0], "thing2": thing[1], "p": letters[0], "q": letters[1]}
    slots |= {"part": part[0], "part2": part[1], "part3": part[2], "place": rng.choice(_PLACE)}
    slots |= {"shape": rng.choice(_SHAPE), "colour": rng.choice(_COLOUR)}
    slots |= {name: str(rng.randint(2, 400)) for name in "abc"}
    kind, value = rng.random(), rng.randint(2, 999)
    answer = str(value)
    options: tuple[str, ...] = ()
    if kind < 0.2:
        answer = rng.choice(["{}\\sqrt{{{}}}", "\\frac{{{}}}{{{}}}\\pi", "{}x + {}", "({}, {})"]).format(
            value, rng.randint(2, 30)
        )
    elif kind < 0.5:
        drawn = [str(number) for number in rng.sample(range(2, 999), 4)]
        answer, options = rng.choice("ABCD"), tuple(drawn)
    return Story(rng.randrange(len(_TEMPLATES)), rng.randrange(len(_INTRO)), tuple(slots.items()), answer, options)


Made = tuple[str, str]


# What is asked in place of the question, and an answer that nobody can check, by the rule that should see it.
_ASKED = {
    "proof": (
        [
            "Prove that {p}{q} bisects the angle.",
            "Show that the two triangles at {p} are congruent.",
            "求证: {p}{q} 平分该角.",
        ],
        ["Proof omitted.", "It follows from SAS.", "yes"],
    ),
    "drawing": (
        [
            "Draw the line through {p} that is parallel to {q}.",
            "Sketch the graph in the grid.",
            "Please complete the figure.",
            "请画出点 {p} 的对称点.",
        ],
        ["as drawn", "5", "see the figure"],
    ),
    "open": (
        [
            "Explain your reasoning in two sentences.",
            "Why does the chart mislead the reader?",
            "Discuss which offer is better.",
            "Design a fair game with these.",
            "请说明理由.",
        ],
        ["Because the scale starts late.", "7", "the second"],
    ),
}


def _asked(kind: str, told: Story, rng: random.Random) -> Made:
    asks, answers = _ASKED[kind]
    return f"{told.setting()} {rng.choice(asks).format_map(dict(told.slots))}", rng.choice(answers)


def _several(told: Story, rng: random.Random) -> Made:
    a, b = rng.sample(
        ["find the total", "how many are left over", "calculate the mean of both", "what share is that"], 2
    )
    form = rng.choice(
        [
            "(1) {a}; (2) {b}.",
            "What is the sum of the two? And how large is the difference?",
            "① {a} ② {b}",
            "1. Please {a}. 2. Then {b}?",
        ]
    )
    return f"{told.setting()} {form.format(a=a.capitalize(), b=b.capitalize())}", str(rng.randint(2, 99))


def _unverifiable(told: Story, rng: random.Random) -> Made:
    wrong = rng.choice(
        [
            "The lines never meet because both are level with the ground",
            "BD = CE (not unique)",
            "∵ the angles are equal ∴ it is 7",
            "any number of marbles that is large enough for all the children",
            "答案不唯一",
            "(1) it is stable when all of its sides are fixed (2) 12",
        ]
    )
    return replace(told, options=()).question, wrong


def _blanks(told: Story, rng: random.Random) -> Made:
    x, y = rng.randint(2, 99), rng.randint(2, 99)
    form = rng.choice(
        ["Then the first is ___ and the second is ___.", "(1) The sum is ___; (2) the larger one is ___."]
    )
    return f"{told.setting()} {form}", rng.choice([f"{x}\n{y}", f"(1)${x}$ (2)${y}$", f"{x}; {y}"])


def _listed(told: Story, rng: random.Random) -> Made:
    lead = "The patterns (1), (2), (3) and (4) have more and more dots: "
    return lead + replace(told, options=()).question, str(rng.randint(2, 999))


def _mentions(told: Story, rng: random.Random) -> Made:
    lead = rng.choice(
        [
            "It can be proved that both paths are equal. ",
            "The graph is drawn with its axes in metres. ",
            "The design of the flag has equal stripes. ",
            "A student explained the rule to the others. ",
            "The line {p}{q} was constructed with a ruler. ",
        ]
    )
    return lead.format_map(dict(told.slots)) + told.question, told.answer


def _in_words(told: Story, rng: random.Random) -> Made:
    ask = "Which kind of figure results?"
    return f"{told.setting()} {ask}", rng.choice(["rhombus", "a square", "right triangle", "Tuesday"])


MADE: dict[str, Callable[[Story, random.Random], Made]] = {
    **{kind: functools.partial(_asked, kind) for kind in _ASKED},
    "several": _several,
    "unverifiable": _unverifiable,
    "picture_missing": lambda told, rng: (
        f"Table 1: [Image](a41f) Table 2: [Image](b7e2) {told.question}",
        told.answer,
    ),
    "blanks": _blanks,
    "listed": _listed,
    "mentions": _mentions,
    "in_words": _in_words,
}
