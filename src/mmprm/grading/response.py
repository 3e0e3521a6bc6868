r"""Finds the final answer in a whole response: tags, boxes, "the answer is …", bold text, conclusions, the last line.

In: the text that a model wrote. Out: statements, the most explicit first and among equals the last one first, since a
model that corrects itself means what it says last. Nothing here knows the gold answer; what a statement says is for
`choice` and `number` to read, and whether it is an answer of the asked type for `reading` to tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmprm.grading.clean import narrow

HEAD, TAIL = 4_000, 16_000  # characters of a longer response that are read: an answer stands at an end of it
_FEW = 16  # statements that are read, so that no response takes long
_LENGTH = 1_000  # characters of each of them

_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|(?=<answer>)|$)", re.DOTALL | re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SAID = re.compile(
    r"""(?<![\w-])(?:answer|option|choice|(?:solution|result)(?!s?\W*:))s?\b[*_`]*
        (?:\s+(?:choice|option|letter))?
        (?:\s+(?:to|for|of)\s+(?:the|this|that|your|our|question|problem)\b[^.:\n]{0,80}?)?
        (?:\s*,?\s*(?:therefore|then|thus|hence|so)\s*,?)?
        [*_`]*\s*(?P<link>:|=|\b(?:is|are|was|would\s+be|should\s+be|must\s+be|will\s+be|may\s+be|might\s+be)\b\s*:?)
        |(?P<cjk>答案|正确选项|故选|应选|选择|(?<![被可备筛任])选(?!项))\s*(?:应该是|应该|应为|应是|是|为|：|:|\s)?
        |\#\#\#\#(?=\s*[^\s\#])""",
    re.IGNORECASE | re.VERBOSE,
)
_NO_CLAIM = re.compile(r"\b(?:if|whether|wrong|incorrect|other|each)\s*(?:the\s+)?$", re.IGNORECASE)
_HEADING = re.compile(r"^[#*_\s]*(?:final\s+)?answer[#*_:\s]*$", re.IGNORECASE)
_CHOSEN = re.compile(
    r"\b(?:option|choice|answer)\s+\(?([A-J])\)?\s+(?:is|would\s+be|must\s+be|seems)\s+(?:the\s+)?"
    r"(?:correct|right|best|answer|true)\b|\b(?:choose|select|pick)\s+(?:option\s+|choice\s+|answer\s+)?\(?([A-J])\b"
    r"|(?<![A-Za-z])([A-J])\)?\s+(?:is|would\s+be|must\s+be)\s+(?:correct|the\s+(?:correct|right|best)\s+(?:answer|option|choice)"
    r"|the\s+answer)\b"
)
_BOLD = re.compile(r"\*\*([^*\n]{1,200}?)\*\*|__([^_\n]{1,200}?)__")
_TITLE = re.compile(r"^\W*(?:step|case|part|note|given|solution|explanation|analysis)\b|.*:\W*$", re.IGNORECASE)
_CONCLUDES = re.compile(
    r"^\W*(?:therefore|thus|hence|so|in\s+conclusion|in\s+total|overall|finally|consequently|as\s+a\s+result|following"
    r"|we\s+(?:get|have|find|conclude)|所以|因此|故|综上|总之|答)(?![a-z])",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"^\W*(?:i\s+hope\b|is\s+there\s+anything|do\s+you\s+have\s+(?:any\s+)?(?:other|more)|let\s+me\s+know|feel\s+free"
    r"|would\s+you\s+like|please\s+let|(?:sure|certainly|of\s+course)\b[^.]{0,60}$|i\s+see\s+the\s+image\W*$"
    r"|if\s+you\s+have\s+(?:any|other|more)|(?:i'm|i\s+am)\s+(?:happy|glad)|thank)",
    re.IGNORECASE,
)
_EVASION = re.compile(
    r"""\b(?:can\s?not|can['’]t|could\s+not|couldn['’]t|unable\s+to|impossible\s+to|not\s+possible\s+to|difficult\s+to)
        \s+(?:\w+\s+){0,3}?(?:answer(?:ed)?|determin\w*|provide[d]?|solve[d]?|find|found|help|process|see|tell|say
                          |calculat\w*|comput\w*|infer\w*|conclude[d]?|identif\w*|give[n]?|assist|definitively)\b
        |\b(?:does|do|did|is|are)(?:\s+not|n['’]t)\s+(?:\w+\s+){0,3}?(?:provide|contain|include|give|show|enough|specif|clear)
        |\b(?:not|isn['’]t|insufficient|no)\s+(?:\w+\s+)?(?:enough|sufficient|clear|specific)?\s*information\b
        |\b(?:more|additional|further)\s+(?:\w+\s+){0,2}?(?:information|context|details?)\b
        |\b(?:none\s+of|not\s+(?:\w+\s+){0,2}?(?:in|among|one\s+of|listed|match)|no\s+(?:correct|such)\s+)
        |\b(?:mistake|error|typo)\s+in\s+the\b|\bplease\s+(?:provide|check|give|upload|share)\b|无法|不能确定|没有正确|都不正确|不在(?:选项|选择)|不在.{0,6}选项|选项.{0,6}(?:错误|有误)""",
    re.IGNORECASE | re.VERBOSE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[)\"”*]{0,3}\s+(?=[^a-z\s])|(?<=[。！？])\s*|\n+")


@dataclass(frozen=True)
class AnswerStatement:
    """A piece that may state the answer. `how`: tag, box, said, chosen, bold, conclusion, line (last), lead (first)."""

    text: str
    how: str


def body(response: str) -> str:
    """The response without hidden reasoning; of an overlong one its two ends."""
    text = _THOUGHT.sub("", response) if "</think" in response.lower() else response
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def _braced(text: str, begin: int) -> tuple[str, int]:
    """What the braces that open before `begin` hold, and where they end; all that follows where they stay open."""
    depth = 1
    for position in range(begin, len(text)):
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return text[begin:position], position + 1
    return text[begin:].partition("\n")[0], len(text)


def boxes(text: str) -> list[str]:
    r"""What each `\boxed{…}` holds, in order; a box within a box is not counted apart, empty ones are left out."""
    found, end = [], 0
    for match in _BOX.finditer(text):
        if match.start() >= end:
            inner, end = _braced(text, match.end())
            found.append((inner, match.start()))
    return [inner for inner, _ in found if inner.strip()]


def _rest_of(text: str, begin: int) -> str:
    """The statement that goes on at `begin`: to the end of its line, or the next line that says something."""
    for line in text[begin : begin + _LENGTH].split("\n"):
        bare = line.strip()
        if bare.strip("*_$`:#[]()\\ "):
            return bare
    return ""


def explicit(text: str) -> list[AnswerStatement]:
    """What says that it is the answer, the last one first."""
    if tags := [tag for tag in _TAG.findall(text) if tag.strip()]:
        return [AnswerStatement(tags[-1].strip()[-_LENGTH:], "tag")]
    found: list[tuple[int, AnswerStatement]] = []
    covered: list[tuple[int, int]] = []
    for match in _BOX.finditer(text):
        if covered and match.start() < covered[-1][1]:
            continue
        inner, end = _braced(text, match.end())
        covered.append((match.start(), end))
        if inner.strip():
            found.append((match.start(), AnswerStatement(inner.strip()[:_LENGTH], "box")))
    for match in _SAID.finditer(text):
        rest = _rest_of(text, match.end())
        before = text[max(0, match.start() - 30) : match.start()]
        if not rest or _BOX.search(rest) or any(start <= match.start() < end for start, end in covered):
            continue
        if match["cjk"] is None and _NO_CLAIM.search(before):
            continue
        found.append((match.start(), AnswerStatement(rest, "said")))
    for match in _CHOSEN.finditer(text):
        letter = next(filter(None, match.groups()))
        found.append((match.start(), AnswerStatement(letter, "chosen")))
    for match in re.finditer(r"^.*$", text, re.MULTILINE):
        if _HEADING.match(match[0]) and match[0].strip() and (rest := _rest_of(text, match.end())):
            found.append((match.start(), AnswerStatement(rest, "said")))
    return [statement for _, statement in sorted(found, key=lambda pair: -pair[0])[:_FEW]]


def sentences(text: str) -> list[str]:
    """The sentences of prose, without bullets, fences, rows of tables and courtesies."""
    found = []
    for piece in _SENTENCE_END.split(text):
        bare = re.sub(r"^\s*(?:[*•-]\s+|>\s*|#+\s*|\d{1,2}[.)]\s+(?=\S))", "", (piece or "").strip()).strip()
        if bare.strip("`*_-=|:$\\[] ") and "|" not in bare.strip("|$") and not _COURTESY.match(bare):
            found.append(bare[-_LENGTH:])  # a sentence ends with its result
    return found


def evades(text: str) -> bool:
    """Does the sentence say that there is no answer, or that none of the options is right?"""
    return _EVASION.search(text) is not None


def implied(text: str) -> list[AnswerStatement]:
    """What may be the answer though it does not say so: bold text, conclusions, the last and the first sentence."""
    said = sentences(text)
    if not said:
        return []
    bold = [a or b for a, b in _BOLD.findall(text) if not _TITLE.match(a or b)]
    found = [AnswerStatement(piece, "conclusion") for piece in reversed(said) if _CONCLUDES.match(piece)][:_FEW]
    lead = AnswerStatement(said[0], "lead")
    if any(piece in said[0] for piece in bold) and not any(piece in said[-1] for piece in bold):
        # The answer first, then its explanation.
        found.append(lead)
    found += [AnswerStatement(piece, "bold") for piece in bold[: -_FEW - 1 : -1]]
    return [*found, AnswerStatement(said[-1], "line"), lead]


def narrowed(response: str) -> str:
    """`body` with wide characters made narrow, which the patterns above expect."""
    return narrow(body(response))
