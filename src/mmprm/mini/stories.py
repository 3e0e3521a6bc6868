"""Word problems without a figure, with right solutions in steps. In: a family, a random generator. Out: a Story.

For language models that read text alone. A story tells what happens to someone's things, one event after another; each
sum is a step of its own, so that a wrong one is visible in the text. The wording is ours and varies by the generator.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

_NAMES = ("Ana", "Ben", "Chen", "Dara", "Emil", "Fatou", "Goran", "Hana", "Ivo", "Jun", "Kofi", "Lena")
_THINGS = ("apples", "beads", "books", "cards", "coins", "eggs", "marbles", "pens", "shells", "stamps", "stickers")
_PACKS = ("bags", "boxes", "packs", "trays")
_GOODS = ("apron", "bowl", "cup", "lamp", "mug", "pen", "ruler", "scarf", "vase")
_GAINS = ("buys {n} more", "finds {n} more", "is given {n} more", "wins {n} more")
_LOSSES = ("gives {n} of them away", "loses {n} of them", "sells {n} of them", "puts {n} of them aside")


@dataclass(frozen=True)
class Story:
    """A question in words, the steps to its answer, and the answer."""

    question: str
    steps: tuple[str, ...]
    answer: int


@dataclass
class _Chain:
    """What is known of someone's things while a story is told."""

    name: str
    things: str
    amount: int
    told: list[str]
    steps: list[str]

    def gain(self, rng: random.Random) -> None:
        more = rng.randint(3, 40)
        self._add(more, rng.choice(_GAINS).format(n=more), rng)

    def packs(self, rng: random.Random) -> None:
        count, size, packs = rng.randint(2, 9), rng.randint(2, 9), rng.choice(_PACKS)
        more = count * size
        self.steps.append(f"{count} {packs} of {size} {self.things} are {count} * {size} = {more} {self.things}.")
        self._add(more, f"buys {count} {packs} of {size} {self.things} each", rng)

    def loss(self, rng: random.Random) -> None:
        less = rng.randint(2, self.amount - 1)
        before, self.amount = self.amount, self.amount - less
        self.told.append(f"{self.name} {rng.choice(_LOSSES).format(n=less)}.")
        self.steps.append(f"{self.name} has {before} - {less} = {self.amount} {self.things} left.")

    def double(self, rng: random.Random) -> None:
        times = rng.randint(2, 4)
        before, self.amount = self.amount, self.amount * times
        self.told.append(f"Later {self.name} has {times} times as many as that.")
        self.steps.append(f"{times} times as many are {before} * {times} = {self.amount} {self.things}.")

    def _add(self, more: int, event: str, rng: random.Random) -> None:
        before, self.amount = self.amount, self.amount + more
        self.told.append(f"{self.name} {event}.")
        first, second = (before, more) if rng.random() < 0.7 else (more, before)
        self.steps.append(f"{self.name} has {first} + {second} = {self.amount} {self.things} now.")


def _chain(events: int, rng: random.Random) -> Story:
    """Tell of `events` that change a number of things."""
    name, things, amount = rng.choice(_NAMES), rng.choice(_THINGS), rng.randint(5, 60)
    chain = _Chain(name, things, amount, [f"{name} has {amount} {things}."], [])
    for _ in range(events):
        kinds: list[Callable[[random.Random], None]] = [chain.gain, chain.packs]
        if chain.amount >= 4:
            kinds.append(chain.loss)
        if chain.amount <= 60:  # so that numbers stay below some hundreds
            kinds.append(chain.double)
        rng.choice(kinds)(rng)
    question = " ".join([*chain.told, f"How many {things} does {name} have in the end?"])
    return Story(question, tuple(chain.steps), chain.amount)


def _shop(goods: int, rng: random.Random) -> Story:
    """Tell of `goods` that are bought, some of each."""
    name, chosen = rng.choice(_NAMES), rng.sample(_GOODS, goods)
    prices, counts = ([rng.randint(2, 9) for _ in chosen] for _ in range(2))
    told = [f"One {good} costs {price} coins." for good, price in zip(chosen, prices, strict=True)]
    bought = [f"{count} of the {good}s" for good, count in zip(chosen, counts, strict=True)]
    told.append(f"{name} buys {', '.join(bought[:-1])} and {bought[-1]}. How many coins does {name} pay?")
    costs = [price * count for price, count in zip(prices, counts, strict=True)]
    steps = [
        f"The {good}s cost {count} * {price} = {cost} coins."
        for good, count, price, cost in zip(chosen, counts, prices, costs, strict=True)
    ]
    total = costs[0]
    for cost in costs[1:]:
        steps.append(f"Together that is {total} + {cost} = {total + cost} coins.")
        total += cost
    return Story(" ".join(told), tuple(steps), total)


def _story(rng: random.Random) -> Story:
    return _shop(2, rng) if rng.random() < 0.25 else _chain(2, rng)


def _long_story(rng: random.Random) -> Story:
    return _shop(3, rng) if rng.random() < 0.25 else _chain(4, rng)


# Two or three sums, and at least four.
STORIES: dict[str, Callable[[random.Random], Story]] = {"story": _story, "long_story": _long_story}
