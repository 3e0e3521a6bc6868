"""Does a question ask for one answer that can be checked? In: a question, and the number of parts of its answer.

Out: the words that make it a request for a proof, for a drawing, an open question, or several questions; else None.
For English and Chinese. The rules look at words alone: a question that they do not recognise passes.
"""

import re
from dataclasses import dataclass

from mmprm.grading.clean import narrow

# Blanks without line ends, each of which starts an imperative itself: `\s*` takes 13 s for 20,000 empty lines.
_IMPERATIVE = r"(?:^|[.;:,?!。；，：？！\n)][^\S\n]*|\b(?:then|and|please|to|now)\s+|[请试并再])"
_PROOF = re.compile(
    rf"{_IMPERATIVE}(?:(?:try\s+to\s+)?(?:prove|verify|justify|deduce|disprove)\b(?!\s*:?\s*_)|"
    r"show\s+(?:that|why|how)\b)"
    r"|\b(?:prove|proof)\s+(?:that|the following|your)\b|write\s+(?:down\s+)?(?:a|the|your)\s+proof"
    r"|求证|证明(?!书|人|件)",
)
_DRAWING = re.compile(
    rf"{_IMPERATIVE}(?:(?:draw|sketch|plot|graph)\s+(?:a|an|the|and|out|all|its|your|on|in|\w+\s+(?:of|that|with))\b|"
    r"construct\s+(?:a|an|the)\b[^.;?]*\bwith\s+(?:a\s+)?(?:compass|ruler|straightedge)|"
    r"complete\s+the\s+(?:diagram|figure|drawing|graph|picture)|(?:shade|colou?r)\s+(?:the|a|in)\b|"
    r"use\s+(?:a\s+)?(?:compass|ruler|straightedge)[^.;?]*\bto\s+(?:draw|construct))"
    r"|画出|作出|画图|作图|补全图|描出|涂(?:色|上|出)|尺规",
)
# A description of a drawing is no request to draw: "A line is drawn …; draw a line through A, then its length is ___".
_GIVEN_DRAWING = re.compile(r"_{2,}|\bwhat\b|\bhow\b|\bfind\b|\bcalculate\b|\bthen\b|\bis\s*[.:]?\s*$|求|则|等于|多少")
_OPEN = re.compile(
    rf"{_IMPERATIVE}(?:explain|describe|discuss|design|comment\s+on|give\s+(?:a\s+)?reasons?|"
    r"state\s+your\s+(?:reason|opinion|view)\w*|give\s+(?:an|one|two|three)\s+examples?|"
    r"write\s+(?:an?|one)\s+(?:essay|story|paragraph|word\s+problem|example)|"
    r"make\s+up\s+(?:a|an)|come\s+up\s+with|suggest\b|propose\b|pose\s+(?:a|one)\s+(?:question|problem))"
    r"|\bwhy\b[^.]*\?|\bwhat\s+(?:do\s+you\s+think|is\s+your\s+opinion|information\s+can\s+you|suggestions?)\b"
    r"|\bin\s+your\s+own\s+words\b|\banswers?\s+(?:may|will|can)\s+vary\b"
    r"|说明理由|请说明|请解释|谈谈|你的(?:看法|想法|建议|理由)|设计(?:一个|一种|方案)|为什么|举例|编一道|讨论"
)
_LABEL = re.compile(
    r"(?:(?<=^)|(?<=[\s.;:,?!。；，：？！)_$]))"
    r"(?:\(\s*(?P<round>\d|[ivx]{1,4}|[a-h])\s*\)|(?P<ring>[①-⑨])|(?P<dot>\d)\s*[.、](?!\d)|(?P<q>q\d)\s*[:.])\s*",
    re.MULTILINE,
)
_BLANK = re.compile(r"_{2,}|\(\s{2,}\)|（\s*）|\\underline|\\_")
_ASKS = re.compile(
    r"\?|？|_{2,}|\\underline|^\s*(?:please\s+|try\s+to\s+)?(?:find|calculate|compute|determine|solve|evaluate|simplify|"
    r"write|estimate|predict|prove|show|explain|draw|state|give|express|what|how|which|who|when|where)\b"
    r"|求|计算|写出|多少|几|什么|哪|证明"
)
_TOKEN = re.compile(r"[a-z]+|\d+|_{2,}|[\u3400-\u9fff]")
_MARK = re.compile(r"[?？]")


@dataclass(frozen=True)
class QuestionFaults:
    """The words that show that a question has no single answer, for each kind of such questions; None: not of it."""

    proof: str | None
    drawing: str | None
    open_question: str | None
    several_questions: str | None


def find_faults(question: str, n_parts: int) -> QuestionFaults:
    """Find what the question asks for; n_parts: the parts of its gold answer, one for each blank."""
    text = narrow(question).casefold()
    drawing = _first_match(_DRAWING, text)
    if drawing and _GIVEN_DRAWING.search(text[text.find(drawing) + len(drawing) :]):
        drawing = None
    return QuestionFaults(_first_match(_PROOF, text), drawing, _first_match(_OPEN, text), _several(text, n_parts))


def _first_match(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[0].strip(" .;:,?!。；，：？！\n)") if match else None


def _several(text: str, n_parts: int) -> str | None:
    """Describe a question that asks for more than the answer gives; blanks with an answer part each count as one."""
    asked = max(_labelled(text), _marks(text))
    if asked < 2 or n_parts >= asked:
        return None
    return f"{asked} questions, and {n_parts} answer{'s' if n_parts != 1 else ''}"


def _labelled(text: str) -> int:
    """Count the parts after labels (1), (2), … that ask something; 0 where the labels do not start with the first."""
    labels = list(_LABEL.finditer(text))
    best = 0
    for kind in ("round", "ring", "dot", "q"):
        of_kind = [label for label in labels if label[kind]]
        ends = [label.start() for label in of_kind[1:]] + [len(text)] * bool(of_kind)
        pieces = [text[label.end() : end] for label, end in zip(of_kind, ends, strict=True)]
        names = [label[kind] for label in of_kind]
        if len(names) >= 2 and len(set(names)) == len(names) and names[0] in ("1", "i", "a", "①", "q1"):
            best = max(best, sum(bool(_ASKS.search(piece)) and len(_TOKEN.findall(piece)) >= 2 for piece in pieces))
    return best


def _marks(text: str) -> int:
    """Count the different questions that end in a question mark."""
    pieces = _MARK.split(text)[:-1]
    asked = {re.split(r"[.。;；]\s", piece)[-1].strip() for piece in pieces}
    return len({question for question in asked if len(question) > 7 or re.search(r"[\u3400-\u9fff]{3}", question)})
