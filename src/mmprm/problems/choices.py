"""The options of a multiple-choice question, and which is right. In: values of a row. Out: texts, a gold answer.

Options come as a list, as a list that was stored as text (JSON or Python), as an object (`{"A": "10", "B": "20"}`;
ARC's `{"label": […], "text": […]}`), or in one line (`A. 10; B. 20`). Letters before the options' own texts are not
part of them.
"""

import ast
import json
import re
import string
from typing import Any

from mmprm.grading import choice
from mmprm.problems.refusals import RowRefusedError
from mmprm.problems.values import text_of

_MOST = 26  # the letters there are
_LONGEST = 2**16  # characters of options that are one text
_LETTER = re.compile(r"\s*(?:\(([A-Za-z])\)|\[([A-Za-z])\]|([A-Za-z])\s*[.):、：．])\s*")
_ONE_LINE = re.compile(r"(?:^|(?<=[\s;；,，]))\s*\(?([A-Z])\s*[.):：、．]\s*")
_BARE = re.compile(r"\(?\s*([A-Za-z])\s*\)?\.?")
_SEVERAL = re.compile(r"[A-Z](?:\s*(?:,|and|&|、|\s)?\s*[A-Z])+")
_LETTER_AND_TEXT = re.compile(r"\s*\(?([A-Z])\s*[.):、：．]\s*(?=\S)(.+)", re.DOTALL)


def choices_of(value: Any) -> tuple[str, ...]:
    """Return the options, without the letters before them; none where the value is null or blank."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    if isinstance(value, str):
        value = _parsed(value)
    if isinstance(value, dict):
        value = _of_object(value)
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = _labelled([item.get("label") for item in value], [item.get("text") for item in value])
    if not isinstance(value, list) or len(value) > _MOST:
        raise RowRefusedError("bad_value", f"choices are not a list of at most {_MOST}, the letters there are")
    choices = tuple(text_of(item, "a choice").strip() for item in value)
    if not all(choices):
        raise RowRefusedError("bad_value", "a choice is blank")
    return _without_letters(choices)


def _parsed(text: str) -> Any:
    """Read a list that is stored as text, or options in one line."""
    if len(text) > _LONGEST:
        raise RowRefusedError("bad_value", f"choices are a text of {len(text):,} characters")
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list | dict | tuple):
            return list(value) if isinstance(value, tuple) else value
    pieces = re.split(r"[;；\n]", text.strip().rstrip(";；"))
    if len(bare := _without_letters(tuple(pieces))) > 1 and bare != tuple(pieces):
        return [part.strip() for part in bare]
    pieces = _ONE_LINE.split(text)
    letters, texts = pieces[1::2], pieces[2::2]
    if len(letters) < 2 or letters != list(string.ascii_uppercase[: len(letters)]) or pieces[0].strip():
        raise RowRefusedError("bad_value", "choices are a text that is neither a list nor `A. …; B. …` in order")
    return [part.strip().rstrip(";；,，").strip() for part in texts]


def _of_object(value: dict[str, Any]) -> list[Any]:
    if value.keys() == {"label", "text"} and all(isinstance(part, list) for part in value.values()):
        return _labelled(value["label"], value["text"])
    # A struct of parquet has a null for each letter that other rows have.
    given = {key: item for key, item in value.items() if item is not None}
    return _labelled(list(given), list(given.values()))


def _labelled(labels: list[Any], texts: list[Any]) -> list[Any]:
    names = [str(label).strip().upper() for label in labels]
    places = [str(number) for number in range(1, len(names) + 1)]
    if len(names) != len(texts) or not names or names not in (list(string.ascii_uppercase[: len(names)]), places):
        raise RowRefusedError("bad_value", f"the letters of the choices are {', '.join(names)[:80]}, not A, B, …")
    return texts


def _without_letters(choices: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the letters before the texts, where every choice begins with its own and a text follows."""
    bare = []
    for letter, text in zip(string.ascii_uppercase, choices, strict=False):
        match = _LETTER.match(text)
        own = next(filter(None, match.groups())) if match else ""
        if match is None or own.upper() != letter or not text[match.end() :]:
            return choices
        bare.append(text[match.end() :])
    return tuple(bare)


def gold_of(answer: str, value: Any, choices: tuple[str, ...], answer_is: str | None) -> str:
    """Return the gold answer of a question with choices; RowRefusedError where it is none of them.

    value: the answer as the file has it; answer_is: see config.sources.TableSource. A letter with the option's text
    (`B. 20`) is read as the letter, an index as the letter of its option.
    """
    letters = string.ascii_uppercase[: len(choices)]
    by_letter = letters.find(bare[1].upper()) if (bare := _BARE.fullmatch(answer)) else -1
    place = _index(answer, len(choices))
    if answer_is == "index":
        if place is None:
            raise RowRefusedError("bad_value", f"the answer {answer!r:.80} is no index from 0 to {len(choices) - 1}")
        return _stated(place, choices)
    right = choice.gold_indices(choices, answer)
    if by_letter >= 0 and (answer_is == "letter" or (answer_is is None and right == {by_letter})):
        return answer if right == {by_letter} else _stated(by_letter, choices)
    number = isinstance(value, int | float)
    other = by_letter if by_letter >= 0 else place if number and place is not None else -1
    if answer_is is None and right and other >= 0 and right != {other}:
        named, what = ", ".join(choices[index] for index in right), "letter" if by_letter >= 0 else "index"
        raise RowRefusedError(
            "bad_value",
            f"the answer {answer} may be the choice {named!r:.80}, or the {what} of {choices[other]!r:.80}: "
            f"set `answer_is: value` or `answer_is: {what}` of the source",
        )
    match = _LETTER_AND_TEXT.fullmatch(answer)
    if match and choice.gold_indices(choices, match[2].strip().rstrip(".")) == {ord(match[1]) - ord("A")}:
        return match[1]
    if right and (answer_is != "letter" or _SEVERAL.fullmatch(answer)):
        return answer
    hint = "; if it is an index from 0, set `answer_is: index` of the source" if number and place is not None else ""
    raise RowRefusedError("bad_value", f"the answer {answer!r:.80} is none of the choices{hint}")


def _stated(index: int, choices: tuple[str, ...]) -> str:
    """Return the letter of a choice, or its text where another choice's text is that letter."""
    letter = string.ascii_uppercase[index]
    return letter if choice.gold_indices(choices, letter) == {index} else choices[index]


def _index(answer: str, size: int) -> int | None:
    try:
        number = float(answer)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 0 <= number < size else None
