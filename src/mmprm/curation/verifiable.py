"""Can the grader tell a correct answer from a wrong one? In: a problem. Out: its kind of answer, and what is wrong.

The gold answer must be correct by the rules of `grading`, and answers made from it wrong: another number, the other
sign, another option, one changed blank. An explanation is no answer, nor is one of several ("not unique").
"""

import re
from dataclasses import dataclass

from mmprm.data.problem import Problem
from mmprm.grading import Verdict, rules
from mmprm.grading.clean import clean, compact, parts, words
from mmprm.grading.expression import MATHS, MAX_CHARACTERS

_NOT_UNIQUE = re.compile(
    r"not\s+unique|not\s+the\s+only|answers?\s+(?:may|will|can)\s+vary|\bany\s+one\b|\bfor\s+example\b|\be\.g\.|"
    r"for\s+instance|答案不唯一|不唯一|如[:：]|例如|合理即可|言之有理|\bomitted\b|^\s*略\s*$|see\s+(?:the\s+)?"
    r"(?:solution|figure|diagram|explanation|analysis)|as\s+shown\s+in\s+the|如图",
    re.IGNORECASE,
)
_REASONS = re.compile(r"[∵∴]|\\because|\\therefore|\b(?:because|therefore|since|hence|thus)\b|因为|所以|故选|证明")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_HAN = re.compile(r"[\u3400-\u9fff]")
_NUMERAL = re.compile(r"(?<![\d.])\d+(?:\.\d+)?")
_LONGEST = 8  # words that an answer with a formula may have: a unit, "or", "and", a name


@dataclass(frozen=True)
class Verifiability:
    """kind: what grading takes the answer for (`several`: one part for each blank); fault: why it cannot be verified,
    None where that depends on `wrong`; wrong: answers that the grader must not accept."""

    kind: str
    n_parts: int
    gold: str
    fault: str | None
    wrong: tuple[str, ...] = ()


def check(problem: Problem, max_words: int) -> Verifiability:
    """Check the answer by the rules of grading; max_words: the most words of an answer in words."""
    target = rules.target_of(problem)
    blanks, ordered = parts(problem.answer) if target.kind == "expression" else ([clean(problem.answer)], False)
    if target.kind == "text" and (lines := [line for line in problem.answer.splitlines() if line.strip()])[1:]:
        blanks = lines  # of several blanks in words, each is as long as one may be
    kind = "several" if len(blanks) > 1 and ordered else target.kind
    gold = _gold(target)
    fault = _fault(problem.answer, target, blanks, max_words)
    if fault is not None:
        return Verifiability(kind, len(blanks), gold, fault)
    letters = ", ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index] for index in sorted(target.right))
    decided = rules.decide(target, letters or problem.answer)
    if decided is None or decided.verdict is not Verdict.CORRECT:
        return Verifiability(kind, len(blanks), gold, "the grader does not take its own answer for right")
    return Verifiability(kind, len(blanks), gold, None, _wrong(target, problem.answer, blanks, ordered))


def _gold(target: rules.Target) -> str:
    """Normalise the answer, to tell whether two problems have the same."""
    if target.kind == "choice":
        return " | ".join(sorted(compact(target.options[index]).casefold() for index in target.right))
    if target.number is not None:
        return str(target.number.value)
    return words(target.gold) if target.kind == "text" else compact(target.gold).casefold()


def _fault(answer: str, target: rules.Target, blanks: list[str], max_words: int) -> str | None:
    if not answer.strip(" $.,;。"):
        return "there is no answer"
    if target.kind in ("choice", "number"):
        return None
    if match := _NOT_UNIQUE.search(answer):
        return f"its answer is one of several: it says {match[0].strip()!r}"
    if len(answer) > MAX_CHARACTERS:
        return f"its answer has {len(answer)} characters, more than is ever compared"
    if _REASONS.search(answer):
        return "its answer is an explanation"
    most = 0
    for blank in blanks:
        is_maths = MATHS.search(_COMMAND.sub("", blank)) is not None
        count = _count_words(blank, is_maths)
        most = max(most, count) if count > (_LONGEST if is_maths else max_words) else most
    return f"its answer is a text of {most} words" if most else None


def _count_words(text: str, is_maths: bool) -> int:
    """Count the words; with a formula only those of three letters, since shorter ones are names and units."""
    bare = _COMMAND.sub(" ", re.sub(r"\\(?:text|mathrm|mbox|rm)\s*\{([^{}]*)\}", r" \1 ", text))
    latin = re.findall(r"[^\W\d_]+", _HAN.sub(" ", bare))
    return len([word for word in latin if len(word) > 2 or not is_maths]) + (len(_HAN.findall(bare)) + 1) // 2


def _wrong(target: rules.Target, answer: str, blanks: list[str], ordered: bool) -> tuple[str, ...]:
    """Make wrong answers, a few of each kind."""
    if target.kind == "choice":
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(target.options)]
        return tuple(letter for index, letter in enumerate(letters) if index not in target.right)[:2]
    if target.number is not None:
        value = target.number.value
        return (str(value + 1), str(-value)) if value else (str(value + 1),)
    if target.kind == "text":
        return (f"not {answer.strip()}", "zzz")
    changed = [_changed(blank) for blank in blanks]
    joined = "\n" if ordered else ", "
    return tuple(joined.join([*blanks[:index], blank, *blanks[index + 1 :]]) for index, blank in enumerate(changed))[:4]


def _changed(blank: str) -> str:
    """Raise the last number of the blank by one; without a number, return another blank."""
    if numerals := list(_NUMERAL.finditer(blank)):
        last, number = numerals[-1], numerals[-1][0]
        other = str(int(number) + 1) if number.isdigit() else f"{float(number) + 1:g}"
        return blank[: last.start()] + other + blank[last.end() :]
    return f"{blank} + 1" if re.search(r"[A-Za-z]", blank) and not _WORD.search(_COMMAND.sub("", blank)) else "7"


def pending(problem: Problem, wrong: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Grade wrong answers by rules: returns (the first accepted one, those that the rules cannot decide)."""
    target, undecided = rules.target_of(problem), []
    for answer in wrong:
        decided = rules.decide(target, answer)
        if decided is None:
            undecided.append(answer)
        elif decided.verdict is Verdict.CORRECT:
            return answer, []
    return None, undecided
