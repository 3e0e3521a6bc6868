r"""Read the final answer of a whole response, as the type that the problem asks for.

In: the response and the `Target`. Out: a `FinalAnswer`: its text for `rules.decide`, or None if there is no answer.
Explicit statements (a tag, a box, "the answer is …") come before implied ones (a conclusion, the last line). Of equally
explicit ones the last readable one counts, because a model that corrects itself does so later in its text; a tag or a
box counts even if it is not readable.
"""

import re
from dataclasses import dataclass

from mmprm.grading import choice, number
from mmprm.grading.clean import boxed_texts, clean, find_boxes, narrow, parts
from mmprm.grading.expression import MAX_CHARACTERS, is_formula
from mmprm.grading.rules import Target

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
_MARKED = ("tag", "box")
_IS = re.compile(r"\b(?:is|are|was|were|be|called|named)\b|是|为|叫")
_REASON = re.compile(r"\s*,?\s+(?:because|since)\b|,?\s*因为")
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
_INLINE = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


@dataclass(frozen=True)
class AnswerStatement:
    """A piece of text that may state the answer.

    how: where it was found: tag, box, said ("the answer is"), chosen ("B is correct"), bold, conclusion ("therefore"),
        line (the last sentence), lead (the first sentence).
    """

    text: str
    how: str


@dataclass(frozen=True)
class FinalAnswer:
    """The answer that a response states.

    text: the answer; None if there is none to grade.
    how: where it was found (`AnswerStatement.how`); without an answer none, several, evasive or nothing.
    options: for a multiple-choice question, the indices of the options that it names.
    """

    text: str | None
    how: str
    options: frozenset[int] = frozenset()


_NOTHING = FinalAnswer(None, "nothing")


def read_final_answer(target: Target, response: str | None, question: str = "") -> FinalAnswer:
    """Return the answer that a response states; `question` helps to read yes or no from a conclusion."""
    if response is None or not response.strip():
        return FinalAnswer(None, "none")
    text = narrow(body(response))  # the patterns of this module expect narrow characters
    prose = sentences(text)
    answer = _marked_choice(target, text, prose) if target.kind == "choice" else _explicit_value(target, text)
    if answer is not None or not prose:
        return answer or _NOTHING
    if target.kind != "choice" and len(prose) == 1 and (value := _value_in(target, prose[0])) is not None:
        return FinalAnswer(value, "line")
    if any(map(_EVASION.search, prose[-2:])):
        return FinalAnswer(None, "evasive")
    implied = (_implied_answer(target, statement, question) for statement in implied_statements(text))
    return next(filter(None, implied), _NOTHING)


def _implied_answer(target: Target, statement: AnswerStatement, question: str) -> FinalAnswer | None:
    if target.kind != "choice":
        value = _value_in(target, statement.text)
        return None if value is None else FinalAnswer(value, statement.how)
    options = choice.named_options(target.options, statement.text)
    options = options or choice.yes_or_no(target.options, statement.text, question)
    return FinalAnswer(statement.text, statement.how, options) if len(options) == len(target.right) else None


def _first_sentence(statement: AnswerStatement) -> str:
    """Return the first sentence of what follows "the answer is": the others explain it."""
    if statement.how in _MARKED:
        return statement.text
    return next(iter(sentences(statement.text)), statement.text)


def _marked_choice(target: Target, text: str, prose: list[str]) -> FinalAnswer | None:
    """Return the options named by an explicit statement, or by a letter at an end of the last or first sentence."""
    explicit = explicit_statements(text)
    for statement in explicit:
        sentence = _first_sentence(statement)
        if options := choice.named_options(target.options, sentence):
            return _unless_several(target, FinalAnswer(sentence, statement.how, options))
    # A box that names no option may be a formula that equals one.
    if marked := next((statement for statement in explicit if statement.how in _MARKED), None):
        return FinalAnswer(marked.text, marked.how)
    for sentence, how in ((prose[-1], "line"), (prose[0], "lead")) if prose else ():
        if options := choice.options_by_letter(target.options, sentence, last=how == "line"):
            return _unless_several(target, FinalAnswer(sentence, how, options))
    return None


def _unless_several(target: Target, answer: FinalAnswer) -> FinalAnswer:
    """Return the answer, unless it names several options where only one can be right."""
    return FinalAnswer(None, "several") if len(answer.options) > len(target.right) == 1 else answer


def _explicit_value(target: Target, text: str) -> FinalAnswer | None:
    count = len(parts(target.gold)[0]) if target.kind == "expression" else 1
    boxes = boxed_texts(text)
    if count > 1 and len(boxes) == count and all(len(parts(box)[0]) == 1 for box in boxes):
        return FinalAnswer("\n".join(boxes), "box")  # a box for each blank
    for statement in explicit_statements(text):
        if statement.how in _MARKED:
            return FinalAnswer(statement.text, statement.how)
        sentence = _first_sentence(statement)
        first = (
            number.leading_number(sentence) if target.kind == "number" else None
        )  # "the answer is 7 with a total of 12"
        if (value := first or _value_in(target, sentence, explicit=True)) is not None:
            return FinalAnswer(value, statement.how)
    return None


def _value_in(target: Target, sentence: str, explicit: bool = False) -> str | None:
    """Return the part of a sentence that is an answer of the target's kind; None if there is none.

    explicit: the sentence follows "the answer is", so that all of it is the answer.
    """
    bare = clean(sentence)
    if target.kind == "text":
        return _REASON.split(bare if explicit else _IS.split(bare)[-1] or bare)[0]
    if number.parse(bare) or all(map(_is_value, parts(bare)[0])):
        return bare
    if _EVASION.search(sentence):
        return None
    if target.kind == "number":
        return number.stated_number(sentence)
    inline = [next(filter(None, match)) for match in _INLINE.findall(sentence)]
    return clean(inline[-1]) if inline else None


def _is_value(text: str) -> bool:
    """Tell whether the text may be a number or a formula, without words of any language around it."""
    if len(text) > MAX_CHARACTERS:
        return False
    return number.parse(text) is not None or (is_formula(text) and not _CJK.search(text))


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
    contents = ((box.start, box.content.strip()[:_LENGTH]) for box in boxes)
    statements = [(start, AnswerStatement(content, "box")) for start, content in contents if content]
    for match in _SAID.finditer(text):
        statement = _text_from(text, match.end())
        in_box = any(box.start <= match.start() < box.end for box in boxes)
        before = text[max(0, match.start() - 30) : match.start()]
        denied = match["cjk"] is None and _NO_CLAIM.search(before)
        if statement and not in_box and not denied and not find_boxes(statement):
            statements.append((match.start(), AnswerStatement(statement, "said")))
    for match in _CHOSEN.finditer(text):
        statements.append((match.start(), AnswerStatement(next(filter(None, match.groups())), "chosen")))
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
