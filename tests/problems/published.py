"""Rows of each benchmark with exactly the columns, and the types, that were published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from table_pictures import hub_image

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS = pa.list_(pa.string())


def _schema(texts: str, **others: pa.DataType) -> pa.Schema:
    return pa.schema([(name, pa.string()) for name in texts.split()] + list(others.items()))


SCHEMAS = {
    "mathvista": _schema(
        "pid question image unit answer question_type answer_type query",
        decoded_image=IMAGE,
        choices=TEXTS,
        precision=pa.float64(),
        metadata=pa.struct([(name, pa.string()) for name in ("category", "context", "grade", "source", "task")]),
    ),
    "mathverse": _schema(
        "sample_index problem_index problem_version question answer question_type query_wo query_cot question_for_eval",
        image=IMAGE,
        metadata=pa.struct([(name, pa.string()) for name in ("split", "source", "subject", "subfield")]),
    ),
    "mathvision": _schema(
        "id question image answer solution subject", options=TEXTS, decoded_image=IMAGE, level=pa.int64()
    ),
    "olympiadbench": _schema(
        "question context modality difficulty unit answer_type error question_type subfield subject language",
        id=pa.int64(),
        solution=TEXTS,
        final_answer=TEXTS,
        is_multiple_answer=pa.bool_(),
        **{f"image_{number}": IMAGE for number in range(1, 10)},
    ),
    "mm_k12": _schema("id question answer", image=IMAGE),
    "mmk12": _schema("id question answer subject", image=IMAGE),
}


def write(path: Path, benchmark: str, rows: list[dict[str, Any]]) -> Path:
    """The rows as a parquet file of the published schema; a column that is not given is null."""
    schema = SCHEMAS[benchmark]
    assert all(set(row) <= set(schema.names) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def mathvista(pid: str, **changes: Any) -> dict[str, Any]:
    """A free-form question for a number with one decimal place."""
    hint = "Hint: Please answer the question with one decimal place."
    return {
        "pid": pid,
        "question": "How far is it?",
        "image": f"images/{pid}.jpg",
        "decoded_image": hub_image(int(pid)),
        "precision": 1.0,
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
        "metadata": {"task": "figure question answering"},
        "query": f"{hint}\nQuestion: How far is it?",
    } | changes


def mathverse(sample: int, problem: int, version: str, **changes: Any) -> dict[str, Any]:
    """A version of a problem with options; the three with much text share a picture, as in the benchmark."""
    drawn = version in ("Vision Dominant", "Vision Only")
    text = f"In triangle {problem}, find the angle.\nChoices:\nA:60°\nB:75°\nC:85°\nD:90°"
    ask = "please first conduct reasoning, and then provide the option letter, e.g., A, B, C, D, at the end."
    if version == "Vision Only":
        question, query = "", f"According to the question shown in the image, {ask}"
    else:
        question, query = text, f"{ask.capitalize()}\nQuestion: {text}"
    return {
        "sample_index": str(sample),
        "problem_index": str(problem),
        "problem_version": version,
        "question": question,
        "image": hub_image(100 + sample if drawn else problem),
        "answer": "C",
        "question_type": "multi-choice",
        "query_cot": query,
        "query_wo": query,
        "question_for_eval": text,
    } | changes


def mathvision(name: int, **changes: Any) -> dict[str, Any]:
    """A question with options."""
    return {
        "id": str(name),
        "question": "How long is it?\n<image1>",
        "options": ["$7$ km", "$9$ km", "$11$ km", "$16$ km", "$18$ km"],
        "image": f"images/{name}.jpg",
        "decoded_image": hub_image(name),
        "answer": "E",
        "level": 2,
        "subject": "arithmetic",
    } | changes


def olympiadbench(name: int, **changes: Any) -> dict[str, Any]:
    """A question with two pictures and a numerical answer."""
    return {
        "id": name,
        "question": "In <image_1> and <image_2>, compute $T$.",
        "solution": ["So it is."],
        "final_answer": ["2.25"],
        "image_1": hub_image(10 * name),
        "image_2": hub_image(10 * name + 1),
        "modality": "Multimodal",
        "difficulty": "Competition",
        "is_multiple_answer": False,
        "answer_type": "Numerical",
        "question_type": "Open-ended",
        "subfield": "Geometry",
        "subject": "Math",
        "language": "English",
    } | changes
