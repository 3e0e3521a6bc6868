r"""Does a solution end with the problem's answer? In: a problem, a solution. Out: the answer that its end confirms.

Prose often ends in a sentence with several values ("the last digit of N is 3 and N is 9013"). Which of them is meant
cannot be read from the sentence alone, but the gold answer is known: what is asked here is whether the sentence states
it, as a value, as the last side of an equation, or as one of the options. Notes and pictures after the end are passed
over. A solution that marks another answer as its own (a box, a tag, "the answer is") is never asked.
"""

import re

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, choice, number, numerals, rules
from mmprm.grading.clean import clean, compact, narrow
from mmprm.grading.statements import body, sentences

_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SIDES = re.compile(r"=|\\(?:Longrightarrow|Rightarrow|implies|approx|iff)\b|≈|⇒")
_NUMBER = re.compile(r"(?<![\w.,^_{])-?\d+(?:[.,]\d+)*(?:\s*[:/]\s*\d+)*(?![\w{])")
_NOTE = re.compile(r"^\W*(?:note|remark|this\s+would|the\s+problem\s+can|alternatively|comment|check)\b", re.IGNORECASE)
_LETTER = re.compile(
    r"\b(?i:options?|choices?|answer|regions?|nets?|shapes?|figures?|points?|lines?|labell?ed|net|has|is|piece|card)\s+"
    r"(?:\$\s*)?(?:\\(?:mathrm|text|mathbf)\s*\{\s*)?([A-J])\b(?!\s*[a-z]\w)"
)
_UNITS = re.compile(r"\\(?:mathrm|text|operatorname|mbox)\s*\{[^{}]*\}(?:\^\{?\d\}?)?|\\[,;!: ]|~")
_HOW_MANY = re.compile(r"\bhow many\b", re.IGNORECASE)
# "only Henry, India and Jenny", "just A, C and E": names alone, since other words would count what is not asked for.
_NAMES = re.compile(r"\b(?:only|just)\s+((?:[A-Z]\w*,\s+)*[A-Z]\w*,?\s+and\s+[A-Z]\w*)")
_LAST = 3  # sentences from the end in which the first with a value is looked for
_SHORT = 2  # characters of an option's text below which it is too common to be found in prose


def confirmed_answer(problem: Problem, text: str) -> str | None:
    """Return the gold answer, for a choice its letter, if the end of the solution states it; else None."""
    target = rules.target_of(problem)
    prose = [sentence for sentence in sentences(narrow(body(text))) if not _NOTE.match(sentence)]
    for sentence in prose[: -_LAST - 1 : -1]:
        found = _values(sentence)
        if target.kind == "choice":
            named = _options(target.options, sentence, found)
            if named & target.right:
                return ", ".join(chr(ord("A") + index) for index in sorted(target.right))
            if named:
                return None
        for value in found:
            decided = rules.decide(target, value)
            if decided and decided.verdict is Verdict.CORRECT:
                return value
        counted = _counted(sentence, problem.question, target) or _named(sentence, problem.question, target)
        if found or counted:
            return counted
    return None


def _values(sentence: str) -> list[str]:
    """Return the values of a sentence, from its end: numbers, formulas, the last sides of equations."""
    found = []
    for match in _FORMULA.finditer(sentence):
        inner = next(filter(None, match.groups()))
        sides = _SIDES.split(inner)
        found.append(_UNITS.sub(" ", sides[-1]).strip(" .,;"))
    found += [match[0] for match in _NUMBER.finditer(_FORMULA.sub(" ", sentence))]
    found += [match[0] for match in _NUMBER.finditer(sentence)]
    return [value for value in dict.fromkeys(reversed(found)) if value]


def _counted(sentence: str, question: str, target: rules.Target) -> str | None:
    """Return a number in words that counts what the question is about ("one kangaroo"), if it is the gold answer."""
    if target.number is None:
        return None
    stems = {word[:5] for word in re.findall(r"[a-z]{4,}", question.casefold())}
    for match in numerals.NUMERAL.finditer(sentence):
        following = re.match(r"\W*([a-z]{4,})", sentence[match.end() :].casefold())
        value = numerals.value_of(match[0])
        if following and following[1][:5] in stems and value == target.number.value:
            return match[0]
    return None


def _named(sentence: str, question: str, target: rules.Target) -> str | None:
    """Return how many names the sentence lists ("only Henry, India and Jenny"), if that many is the gold answer."""
    listed = _NAMES.search(sentence)
    if target.number is None or listed is None or not _HOW_MANY.search(question):
        return None
    count = len(re.findall(r"[A-Z]\w*", listed[1]))
    return str(count) if count == target.number.value else None


def _options(options: tuple[str, ...], sentence: str, values: list[str]) -> frozenset[int]:
    """Return the options that a sentence states, by text, value or letter."""
    by_letter = {choice.named_options(options, letter) for letter in _LETTER.findall(sentence)}
    found = {index for indices in by_letter for index in indices}
    plain = compact(clean(sentence))
    for index, option in enumerate(options):
        form = compact(clean(option))
        if len(form) > _SHORT and form in plain:
            found.add(index)
    for value in values:
        parsed = number.parse(clean(value))
        same = compact(clean(value))
        for index, option in enumerate(options):
            other = number.parse(clean(_UNITS.sub(" ", option)))
            if compact(clean(_UNITS.sub(" ", option))) == same or (parsed and other and parsed.value == other.value):
                found.add(index)
    return frozenset(found)
