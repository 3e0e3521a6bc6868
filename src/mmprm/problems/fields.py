"""Check the fields of a row and make them a problem; used for every source. In: `RowFields`. Out: a Problem.

An image is given as encoded bytes, a struct of bytes and path, a path below the image folder, or a list of these. Each
function raises RowRefusedError where a value cannot be taken.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.data.problem import Problem
from mmprm.model.step_text import has_control
from mmprm.problems import image_checks
from mmprm.problems.choices import choices_of, gold_of
from mmprm.problems.image_texts import image_bytes
from mmprm.problems.places import numbered, split_outer
from mmprm.problems.refusals import RowRefusedError
from mmprm.problems.values import answer_of, name_of, precision_of, text_of, tolerance_of

ANSWER_TYPES = ("auto", "choice", "number", "integer", "expression", "text")  # integer: see benchmark_rules.INTEGER


@dataclass(frozen=True)
class RowFields:
    """What an adapter reads from a row: the fields of a Problem with the unchecked values of the file."""

    id: Any
    question: Any
    answer: Any
    image: Any = None
    has_image: bool = True  # False: problems of text alone
    has_answer: bool = True  # False: the gold answer may be missing, since nothing is graded
    choices: Any = None
    answer_type: Any = None
    solution: Any = None
    family: Any = None
    precision: Any = None
    unit: Any = None
    tolerance: Any = None
    group: Any = None
    answer_is: str | None = None  # see config.sources.TableSource
    places: bool = False  # the places of images in the question are counted against the images
    composite: bool = False  # one picture may have several numbered places


@dataclass(frozen=True)
class SourceContext:
    """The name of the source, and the folders of images that rows name by paths (see rows.SourceFiles)."""

    source: str
    images: Path
    max_pixels: int
    links: Path | None = None


def problem_of(fields: RowFields, context: SourceContext) -> Problem:
    """Make the problem of a row."""
    needed = {"id": True, "question": True, "answer": fields.has_answer, "image": fields.has_image}
    for field in filter(needed.get, needed):
        if getattr(fields, field) in (None, []):
            optional = "; `image_optional: true` takes such rows of a table" if field == "image" else ""
            raise RowRefusedError("missing_value", f"there is no value for {field}{optional}")
    choices = choices_of(fields.choices)
    question = text_of(fields.question, "question")
    if fields.places:
        n_images = len(fields.image) if isinstance(fields.image, list) else int(fields.image is not None)
        question = numbered(question, n_images, choices, fields.composite)
    _, question, _ = split_outer(question)
    name, answer = name_of(fields.id, "id"), answer_of(fields.answer)
    for field, text in {"id": name, "question": question, "answer": answer}.items():
        if not text and (field != "answer" or fields.has_answer):
            raise RowRefusedError(f"empty_{field}", f"{field} is blank")
    answer_type = fields.answer_type or "auto"
    if answer_type not in ANSWER_TYPES:
        raise RowRefusedError("bad_value", f"answer_type {answer_type!r:.80} is not one of {ANSWER_TYPES}")
    if choices and answer and answer_type in ("auto", "choice"):
        answer = gold_of(answer, fields.answer, choices, fields.answer_is)
    unit = "" if fields.unit is None else text_of(fields.unit, "unit").strip()
    for text in (question, answer, unit, *choices):
        if has_control(text):
            shown = text if len(text) <= 80 else f"{text[:79]}…"
            raise RowRefusedError("control_string", f"a tag or model token stands in {shown!r}")
    return Problem(
        problem_id=f"{context.source}/{name}",
        source=context.source,
        question=question,
        answer=answer,
        images=images_of(fields.image, context),
        choices=choices,
        answer_type=answer_type,
        solution=None if fields.solution is None else text_of(fields.solution, "solution").strip() or None,
        family=None if fields.family is None else text_of(fields.family, "family").strip() or None,
        precision=precision_of(fields.precision),
        unit=unit,
        tolerance=tolerance_of(fields.tolerance),
        group="" if fields.group in (None, "") else f"{context.source}/{name_of(fields.group, 'group')}",
    )


def images_of(value: Any, context: SourceContext) -> tuple[bytes, ...]:
    """Return the encoded images, each checked; none where the value is None."""
    if value is None:
        return ()
    checked = []
    for item in value if isinstance(value, list) else [value]:
        content = item
        if isinstance(item, dict):
            content = item.get("bytes") if item.get("bytes") is not None else item.get("path")
        if content is None or content == "":
            raise RowRefusedError("missing_value", "an image has neither bytes nor a path")
        if isinstance(content, str):
            content = image_bytes(content, context.images, context.max_pixels, context.links)
        if not isinstance(content, bytes):
            raise RowRefusedError("bad_value", f"an image is bytes or a path, this is {type(content).__name__}")
        image_checks.check(content, context.max_pixels)
        checked.append(content)
    return tuple(checked)
