"""A family's way through the stages in one precision: the steps, each by the functions that a run uses.

In: a Place, whose folder the steps before have filled. Out: an Outcome a step.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tiny_families
import tiny_internvl
import tiny_qwen
from training_fixtures import config_of, labelled_path

from mmprm.config import Config, Sampling
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, write_problems
from mmprm.engine.base import Request
from mmprm.engine.factory import open_engine
from mmprm.mini import base_model
from mmprm.mini.problems import FAMILIES as DRAWN
from mmprm.mini.problems import generate
from mmprm.model.step_text import MARKER, Status, parse, question_text, render_solution
from mmprm.prm.cross_check import TOLERANCE, largest_difference
from mmprm.prm.score_candidates import score_candidates
from mmprm.prm.scorers import TransformersScorer
from mmprm.prm.step_scores import Item, StepScores
from mmprm.prm.train_prm import train_prm
from mmprm.prm.vllm_head import unread
from mmprm.runtime.errors import UserError
from mmprm.runtime.parent_death import end_with_parent
from mmprm.training.train_policy import train_policy

ASKED = "plain.in.json"  # see plain_readers.py
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}  # of weights, by the trainings' own name
LENGTH = 768  # tokens


@dataclass(frozen=True)
class Family:
    """What the table calls a family, and how its untrained base is made: in a folder, without tags."""

    title: str
    build: Callable[[Path], Path]
    reads_images: bool = True


def _of(name: str) -> Callable[[Path], Path]:
    return lambda folder: tiny_families.build(folder, name, tags=False)


def _qwen(name: str) -> Callable[[Path], Path]:
    return lambda folder: tiny_qwen.build(folder, name, tags=False)


def _text(name: str) -> Callable[[Path], Path]:
    return lambda folder: tiny_families.build_text(folder, name, tags=False)


def _internvl(text: str) -> Callable[[Path], Path]:
    return lambda folder: tiny_internvl.build(folder, tags=False, text_type=text)


FAMILIES = {
    "internvl": Family("InternVL (Qwen2 inside, tied)", base_model.build),
    "internvl_llama": Family("InternVL (Llama inside and its tokenizer, untied)", _internvl("llama")),
    "internvl_qwen3": Family("InternVL3.5 (Qwen3 inside, untied)", _internvl("qwen3")),
    "qwen2_vl": Family("Qwen2-VL (untied)", _qwen("qwen2_vl")),
    "qwen2_5_vl": Family("Qwen2.5-VL (tied)", _qwen("qwen2_5_vl")),
    "qwen3_vl": Family("Qwen3-VL (tied)", _qwen("qwen3_vl")),
    "llava": Family("LLaVA (Llama, CLIP; untied)", _of("llava")),
    "llava_onevision": Family("LLaVA-OneVision (Qwen2, SigLIP; tied)", _of("llava_onevision")),
    "gemma3": Family("Gemma-3", _of("gemma3")),
    "idefics3": Family("Idefics3", _of("idefics3")),
    "smolvlm": Family("SmolVLM", _of("smolvlm")),
    "llama": Family("Llama (text alone, untied)", _text("llama"), reads_images=False),
    "qwen2": Family("Qwen2 (text alone, tied)", _text("qwen2"), reads_images=False),
}


@dataclass(frozen=True)
class Outcome:
    """What came of a step: works, refused (by mmprm, with what to do), or failed (in a library, or its process died).

    difference: the largest of probabilities against the reference that `STEPS` names; text: a message or a remark.
    """

    outcome: str
    difference: float | None = None
    text: str = ""
    seconds: float = 0.0


class RefusedError(Exception):
    """What mmprm does not do here, and says so without an error."""


@dataclass(frozen=True)
class Place:
    """A family in a precision, in a folder."""

    family: str
    precision: str
    folder: Path

    @property
    def reads_images(self) -> bool:
        return FAMILIES[self.family].reads_images

    def config(self, kind: str = "transformers", candidates: int = 0) -> Config:
        """The configuration of a run with this base: two updates each, over all rows and paths at once."""
        paths = 2 * len(self.readable)
        made = config_of(
            self.folder / "base",
            variants={name: {"label": "hard", "packing": name, "epochs": 2} for name in ("paths", "trees")},
            precision=PRECISIONS[self.precision],
            epochs=4,
            max_length=LENGTH,
            batch_size=paths,
            micro_batch_size=paths,
            warmup_share=0,
        )
        engine = {"kind": kind, "dtype": self.precision, "max_model_len": LENGTH, "kv_cache_gib": 1, "max_running": 8}
        changed = {
            "engine": made.engine.model_copy(update=engine),
            "bench": made.bench.model_copy(update={"cross_check": candidates}),
        }
        return made.model_copy(update=changed)

    @functools.cached_property
    def problems(self) -> list[Problem]:
        """Drawn problems, every third of them without its image; a model of text alone is shown none of the others."""
        drawn = generate("sft", 12, list(DRAWN), seed=0)
        return [one if number % 3 else replace(one, images=()) for number, one in enumerate(drawn)]

    @property
    def readable(self) -> list[Problem]:
        """Those that the model reads."""
        return [one for one in self.problems if self.reads_images or not one.images]

    @property
    def items(self) -> list[Item]:
        """Two solutions each of a few problems, to score."""
        return [(one, parse(one.solution or "").steps, answer) for one in self.readable[:4] for answer in "57"]


def supervised(place: Place) -> Outcome:
    """Fine-tune the base on a table of problems with images and without."""
    FAMILIES[place.family].build(place.folder / "base")
    table = place.folder / "problems.parquet"
    write_problems(table, place.problems)
    policy = place.folder / "policy"
    train_policy(place.config(), [table], place.folder / "sft", policy)
    refused = json.loads((policy / "refused.json").read_text())
    _require(len(refused) == len(place.problems) - len(place.readable), f"refused: {refused}")
    return Outcome("works", text=f"{len(refused)} rows with images are skipped" if refused else "")


def _samples(kind: str) -> Callable[[Place], Outcome]:
    def sample(place: Place) -> Outcome:
        """Draw a greedy and three random solutions of a problem with an image and of one without."""
        engine = open_engine(place.config(kind), place.folder / "policy")
        try:
            for number, problem in enumerate(place.readable[:2]):
                for name, n, temperature in (("greedy", 1, 0.0), ("drawn", 3, 1.0)):
                    sampling = Sampling(max_new_tokens=8, temperature=temperature)
                    engine.submit(Request(f"{name}/{number}", problem, (), n, sampling, seed=1))
            finished = {}
            while engine.pending:
                finished |= {one.key: one for one in engine.step()}
        finally:
            engine.close()
        for one in finished.values():
            _require(one.error is None, str(one.error))
        _require(len(finished) == 4 and all(len(one.completions) in (1, 3) for one in finished.values()), "lost draws")
        greedy = {key: one.completions[0].text for key, one in finished.items() if key.startswith("greedy")}
        if kind == "transformers":
            (place.folder / "greedy.json").write_text(json.dumps(greedy))
            return Outcome("works")
        expected = json.loads((place.folder / "greedy.json").read_text())
        same = sum(greedy[key] == expected[key] for key in greedy)
        return Outcome("works", text=f"{same} of {len(greedy)} greedy solutions are those of transformers")

    return sample


def _prm(packing: str) -> Callable[[Place], Outcome]:
    def train(place: Place) -> Outcome:
        """Train the PRM on a right and a wrong path of each problem. On trees it learns what it learns on paths."""
        place_of = place.folder
        seeds, paths = place_of / "seeds.parquet", place_of / "paths.parquet"
        write_problems(seeds, place.readable)
        rows = [labelled_path(problem, good) for problem in place.readable for good in (True, False)]
        tables.write(paths, rows, schemas.PATHS)
        out = place_of / f"prm-{packing}"
        train_prm(place.config(), packing, place_of / "policy", seeds, paths, place_of / f"work-{packing}", out)
        if packing == "paths":
            return Outcome("works")
        trees, apart = (_reference(place, f"prm-{name}") for name in ("trees", "paths"))
        size = largest_difference(range(len(place.items)), trees, apart).size
        _require(size <= TOLERANCE[place.precision], f"P(yes) differs by {size:.1e} from that of training on paths")
        return Outcome("works", size)

    return train


@functools.cache
def _reference(place: Place, prm: str) -> list[StepScores]:
    """What a PRM says of the candidates, one at a time in transformers."""
    return TransformersScorer(place.folder / prm, dtype=place.precision).score(place.items)


def _scores(kind: str) -> Callable[[Place], Outcome]:
    def score(place: Place) -> Outcome:
        """Score candidates as a run does, cross-check included, and measure every probability against transformers'."""
        prm, items = place.folder / "prm-paths", place.items
        if kind == "vllm" and (why := unread(prm)) is not None:
            raise RefusedError(f"{why}: transformers scores")
        expected = _reference(place, "prm-paths")
        if kind == "transformers":
            _ask_plain_readers(place, expected)
        candidates, out = place.folder / "candidates.parquet", place.folder / f"scores-{kind}.parquet"
        tables.write(candidates, [_candidate(number, item) for number, item in enumerate(items)], schemas.CANDIDATES)
        score_candidates(place.config(kind, len(items)), prm, place.folder / "seeds.parquet", candidates, out)
        found = {row["candidate"]: row["probabilities"] for row in tables.read_rows(out, schemas.SCORES)}
        scores = [StepScores(found[number]) for number in range(len(items))]
        for one, other in zip(scores, expected, strict=True):
            _require(len(one.probabilities) == len(other.probabilities) > 1, "markers without a probability")
            _require(all(0 < p < 1 for p in one.probabilities), "no probability")
        return Outcome("works", largest_difference(range(len(items)), scores, expected).size)

    return score


def _ask_plain_readers(place: Place, scores: Sequence[StepScores]) -> None:
    """Write what plain libraries are to read of the PRM (plain_readers.py), and the P(yes) that are expected."""
    shown: list[dict[str, Any]] = []
    for number, ((problem, steps, answer), one) in enumerate(zip(place.items, scores, strict=True)):
        images = [place.folder / f"image-{number}-{which}.png" for which in range(len(problem.images))]
        for file, image in zip(images, problem.images, strict=True):
            file.write_bytes(image)
        text = {"question": question_text(problem), "solution": render_solution(steps, answer, MARKER)}
        shown.append(text | {"images": list(map(str, images)), "expected": one.probabilities})
    asked = {"folder": str(place.folder / "prm-paths"), "dtype": place.precision, "length": LENGTH}
    tables.write_json(place.folder / ASKED, asked | {"read": shown[::2]})


def _candidate(number: int, item: Item) -> dict[str, Any]:
    problem, steps, answer = item
    ids = {"problem_id": problem.problem_id, "candidate": number}
    return {**schemas.NO_COMPLETION, **ids, "status": Status.OK, "steps": list(steps), "answer": answer}


STEPS: dict[str, Callable[[Place], Outcome]] = {
    "sft": supervised,
    "samples_transformers": _samples("transformers"),
    "prm_paths": _prm("paths"),
    "prm_trees": _prm("trees"),
    "scores_transformers": _scores("transformers"),
    "samples_vllm": _samples("vllm"),
    "scores_vllm": _scores("vllm"),
}
NEEDED = {  # which one another step needs
    "samples_transformers": "sft",
    "prm_paths": "sft",
    "prm_trees": "prm_paths",
    "scores_transformers": "prm_paths",
    "samples_vllm": "samples_transformers",
    "scores_vllm": "prm_paths",
}


def attempt(step: str, place: Place) -> Outcome:
    """Try a step; whatever it raises is its outcome."""
    started = time.monotonic()
    try:
        outcome = STEPS[step](place)
    except (UserError, RefusedError) as error:
        outcome = Outcome("refused", text=str(error))
    except Exception as error:  # a library's own
        outcome = Outcome("failed", text=f"{type(error).__name__}: {error}")
    text = " ".join(outcome.text.replace(f"{place.folder}/", "").split())[:600]
    return replace(outcome, text=text, seconds=round(time.monotonic() - started, 1))


def _require(holds: bool, what: str) -> None:
    """Raise where a step did not do what it should; not `assert`, which names its own line."""
    if not holds:
        raise RuntimeError(what)


def work(family: str, precision: str, folder: Path, steps: Sequence[str]) -> None:
    """Try steps in this process; their outcomes go to folder/<step>.json, all else that is said to folder/log.txt."""
    os.setsid()  # to be killed with its children
    end_with_parent()
    with (folder / "log.txt").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    place = Place(family, precision, folder)
    for step in steps:
        needed = NEEDED.get(step)
        before = json.loads((folder / f"{needed}.json").read_text())["outcome"] if needed else "works"
        outcome = attempt(step, place) if before == "works" else Outcome("not tried", text=f"it needs {needed}")
        tables.write_json(folder / f"{step}.json", asdict(outcome))
