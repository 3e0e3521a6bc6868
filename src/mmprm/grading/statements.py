r"""Find the pieces of a response that may state its answer.

In: the whole text. Out: `AnswerStatement`s, explicit ones (a tag, a box, "the answer is …", a correction after these)
and implied ones (a conclusion, bold text, the last line). What they assert is read by `final_answer`.
"""

import re
from dataclasses import dataclass

from mmprm.grading import assertion
from mmprm.grading.clean import Box, find_boxes

HEAD, TAIL = 4_000, 16_000  # characters read at both ends of a longer response, where answers stand
_MOST = 16  # statements that are read, to bound the time for a response
_LENGTH = 1_000  # characters read of each statement

_THOUGHT = re.compile(r"^.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<answer>(.*?)(?:</answer>|(?=<answer>)|$)", re.DOTALL | re.IGNORECASE)
_SAID = re.compile(
    r"""(?<![\w-])(?:answer|option|choice|(?:solution|result)(?!s?\W*:))s?\b[*_`]*
        (?:\s+(?:choice|option|letter))?
        (?:\s+(?:to|for|of)\s+(?:the|this|that|your|our|question|problem)\b[^.:\n]{0,80}?)?
        (?:\s*,?\s*(?:therefore|then|thus|hence|so)\s*,?)?
        [*_`]*\s*(?P<link>:|=|\b(?:is|are|was|would\s+be|should\s+be|must\s+be|will\s+be|may\s+be|might\s+be)\b\s*:?)
        |(?P<cjk>答案|正确选项|故选|应选|选择|选项(?=[为是应])|(?<![被可备筛任不别勿])选(?!项))\s*(?:应该是|应该|应为|应是|是|为|：|:|\s)*
        |\#\#\#\#(?=\s*[^\s\#])""",
    re.IGNORECASE | re.VERBOSE,
)
_NO_CLAIM = re.compile(r"\b(?:if|whether|wrong|incorrect|other|each)\s*(?:the\s+)?$", re.IGNORECASE)
# What an introduction may be denied by stands in its own clause.
_BEFORE = re.compile(r"[.,;:!?\n]|\b(?:but|so|then|thus|hence|therefore|because|since|and)\b|[。，；]", re.IGNORECASE)
_DENIED_CJK = re.compile(r"(?:不|别|勿|非|排除)[能可应该会要]*$")
_MODAL = re.compile(r"\b(?:would|could|might|may)\b", re.IGNORECASE)
_CONDITION = re.compile(r"^[^.!?]*\b(?:if|unless|provided|had|were)\b", re.IGNORECASE)
_BEHIND_BOX = re.compile(
    r"""[A-Za-z\d^!]\S{0,20}|\s*(?:\\?%|\\(?:text|mathrm)\s*\{[^{}]*\}|\\(?:sqrt|frac|pi|times|cdot|pm)\b\S*
        |(?:hundred|thousand|million|billion|dozen|percent)\b|[*/^+×±!]\s*[\w\\(]+|-\s?[A-Za-z\d](?![A-Za-z])\S*)""",
    re.VERBOSE,
)
_BETWEEN_BOXES = re.compile(r"(?:[\s,;$&/]|\\(?:\(|\)|\[|\]|quad|,|;)|\\text\s*\{\s*(?:and|or)\s*\}|and|or|和|或)*")
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
EVASION = re.compile(
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
    """A piece of text that may state the answer.

    how: where it was found: tag, box, said ("the answer is"), chosen ("B is correct"), bold, conclusion ("therefore"),
        line (the last sentence), lead (the first sentence).
    end: where it ends in the text, at least where its introduction does.
    """

    text: str
    how: str
    end: int = 0


def without_thought(text: str) -> str:
    """Remove the reasoning that a model writes before its reply, up to the last `</think>`."""
    return _THOUGHT.sub("", text) if "</think" in text.lower() else text


def body(response: str) -> str:
    """Return the response without hidden reasoning; of an overlong one, both ends."""
    text = without_thought(response)
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def _text_from(text: str, start: int) -> str:
    """Return the statement that begins at `start`: the rest of the line, or the next line with any content."""
    for line in text[start : start + _LENGTH].split("\n"):
        bare = line.strip()
        if bare.strip("*_$`:#[]()\\ "):
            return bare
    return ""


def explicit_statements(text: str) -> list[AnswerStatement]:
    """Return the statements that are marked as the answer, the last one first."""
    if tags := [tag for tag in _TAG.findall(text) if tag.strip()]:
        return [AnswerStatement(tags[-1].strip()[-_LENGTH:], "tag")]
    boxes = find_boxes(text)
    found = [AnswerStatement(whole_box(text, box), "box", box.end) for box in boxes if box.content.strip() or box.open]
    for match in _SAID.finditer(text):
        statement = _text_from(text, match.end())
        in_box = any(box.start <= match.start() < box.end for box in boxes)
        before = _BEFORE.split(text[max(0, match.start() - 120) : match.start()])[-1]
        claims = match["cjk"] is not None or not _NO_CLAIM.search(before)
        open_to = _MODAL.search(match[0]) and _CONDITION.search(statement)
        if statement and not in_box and claims and not open_to and not find_boxes(statement):
            denied = "not " if assertion.denies(before) or _DENIED_CJK.search(before) else ""
            found.append(AnswerStatement(denied + statement, "said", match.end()))
    for match in _CHOSEN.finditer(text):
        before = _BEFORE.split(text[max(0, match.start() - 120) : match.start()])[-1]
        denied = "not " if assertion.denies(before) else ""
        found.append(AnswerStatement(denied + next(filter(None, match.groups())), "chosen", match.end()))
    for match in re.finditer(r"^.*$", text, re.MULTILINE):
        if _HEADING.match(match[0]) and match[0].strip() and (statement := _text_from(text, match.end())):
            found.append(AnswerStatement(statement, "said", match.end()))
    found += _corrections(text, max((statement.end for statement in found), default=None))
    return sorted(found, key=lambda statement: -statement.end)[:_MOST]


def _corrections(text: str, after: int | None) -> list[AnswerStatement]:
    """Return what follows "sorry, it should be" and the like, behind the last statement, else in the last sentence."""
    start = after if after is not None else max(0, len(text.rstrip()) - _LENGTH)
    pieces = _SENTENCE_END.split(text[start : start + 4 * _LENGTH])
    pieces = [piece for piece in pieces if piece and piece.strip()]
    found = []
    for piece in pieces if after is not None else pieces[-1:]:
        if (match := assertion.correction(piece)) and piece[match.end() :].strip(" .!"):
            found.append(AnswerStatement(piece[match.end() :].strip()[:_LENGTH], "said", start + 1))
            start += 1  # the order of the corrections
    return found


def whole_box(text: str, box: Box) -> str:
    """Return the content of a box with what touches it: the sign before it, the unit or the operation behind it."""
    before, after = text[max(0, box.start - 40) : box.start], text[box.end : box.end + 60]
    sign = "-" if re.search(r"(?:^|[=(:$≈\s]|\\approx)-\s*$", before) else ""
    touching = _BEHIND_BOX.match(after)
    return sign + box.content.strip()[:_LENGTH] + (touching[0] if touching and not box.open else "")


def adjacent_boxes(text: str) -> list[Box]:
    """Return the last box and those before it with nothing but commas and "and" or "or" between them."""
    boxes = [box for box in find_boxes(text) if box.content.strip()]
    first = len(boxes) - 1
    while first > 0 and _BETWEEN_BOXES.fullmatch(text[boxes[first - 1].end : boxes[first].start]):
        first -= 1
    return boxes[max(first, 0) :]


def sentences(text: str) -> list[str]:
    """Return the sentences of prose, without bullets, fences, table rows and polite phrases."""
    result = []
    for piece in _SENTENCE_END.split(text):
        bare = re.sub(r"^\s*(?:[*•-]\s+|>\s+|#+\s*|\d{1,2}[.)]\s+(?=\S))", "", (piece or "").strip()).strip()
        if bare.strip("`*_-=|:$\\[] ") and "|" not in bare.strip("|$") and not _COURTESY.match(bare):
            result.append(bare[-_LENGTH:])  # a sentence ends with its result
    return result


def implied_statements(text: str) -> list[AnswerStatement]:
    """Return what may be the answer without being marked as it: conclusions, bold text, last and first sentence."""
    prose = sentences(text)
    if not prose:
        return []
    bold = [a or b for a, b in _BOLD.findall(text) if not _TITLE.match(a or b)]
    statements = [AnswerStatement(piece, "conclusion") for piece in reversed(prose) if _CONCLUDES.match(piece)][:_MOST]
    lead = AnswerStatement(prose[0], "lead")
    if any(piece in prose[0] for piece in bold) and not any(piece in prose[-1] for piece in bold):
        # The answer comes first and its explanation follows.
        statements.append(lead)
    statements += [AnswerStatement(piece, "bold") for piece in bold[: -_MOST - 1 : -1]]
    return [*statements, AnswerStatement(prose[-1], "line"), lead]
