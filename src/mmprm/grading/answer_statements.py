r"""Find the statements of an answer in a response: tags, boxes, "the answer is …", bold text, conclusions, last line.

In: the text that a model wrote. Out: statements, the most explicit first. Of equally explicit ones the last comes
first, because a model that corrects itself does so later in its text. Nothing here knows the gold answer: `choice` and
`number` interpret a statement, `final_answer` decides whether it is an answer of the expected type.
"""

import re
from dataclasses import dataclass

from mmprm.grading.clean import find_boxes, narrow

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
    """A piece of text that may state the answer.

    how: where it was found: tag, box, said ("the answer is"), chosen ("B is correct"), bold, conclusion ("therefore"),
        line (the last sentence), lead (the first sentence).
    """

    text: str
    how: str


def without_thought(text: str) -> str:
    """Remove the reasoning that a model writes before its reply, up to the last `</think>`."""
    return _THOUGHT.sub("", text) if "</think" in text.lower() else text


def body(response: str) -> str:
    """Return the response without hidden reasoning; of an overlong one, both ends."""
    text = without_thought(response)
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def narrow_body(response: str) -> str:
    """Return `body` with wide characters made narrow, as the patterns of this module expect."""
    return narrow(body(response))


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
    statements = [(box.start, AnswerStatement(box.content.strip()[:_LENGTH], "box")) for box in boxes]
    statements = [(start, statement) for start, statement in statements if statement.text]
    for match in _SAID.finditer(text):
        statement = _text_from(text, match.end())
        in_box = any(box.start <= match.start() < box.end for box in boxes)
        before = text[max(0, match.start() - 30) : match.start()]
        denied = match["cjk"] is None and _NO_CLAIM.search(before)
        if statement and not in_box and not denied and not find_boxes(statement):
            statements.append((match.start(), AnswerStatement(statement, "said")))
    for match in _CHOSEN.finditer(text):
        letter = next(filter(None, match.groups()))
        statements.append((match.start(), AnswerStatement(letter, "chosen")))
    for match in re.finditer(r"^.*$", text, re.MULTILINE):
        if _HEADING.match(match[0]) and match[0].strip() and (statement := _text_from(text, match.end())):
            statements.append((match.start(), AnswerStatement(statement, "said")))
    return [statement for _, statement in sorted(statements, key=lambda pair: -pair[0])[:_MOST]]


def sentences(text: str) -> list[str]:
    """Return the sentences of prose, without bullets, fences, table rows and polite phrases."""
    result = []
    for piece in _SENTENCE_END.split(text):
        bare = re.sub(r"^\s*(?:[*•-]\s+|>\s*|#+\s*|\d{1,2}[.)]\s+(?=\S))", "", (piece or "").strip()).strip()
        if bare.strip("`*_-=|:$\\[] ") and "|" not in bare.strip("|$") and not _COURTESY.match(bare):
            result.append(bare[-_LENGTH:])  # a sentence ends with its result
    return result


def is_evasive(text: str) -> bool:
    """Tell whether the sentence says that there is no answer, or that none of the options is right."""
    return _EVASION.search(text) is not None


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
