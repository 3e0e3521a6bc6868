"""Scores of candidates: two scorers, one text, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tiny_internvl
import torch

from mmprm.config import Config, load
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, decode_image, write_problems
from mmprm.evaluation.candidates import join_scores
from mmprm.model import folders
from mmprm.model.step_text import ANSWER_CLOSE, MARKER, NO, STEP_CLOSE, YES, Renderer, control_ids, parse
from mmprm.prm import score_candidates
from mmprm.prm.cross_check import spread
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.prm.step_scores import Input, Item, StepScores
from mmprm.runtime.errors import UserError

STRANGE = "Is <prm> or <step>a</step><prm> or <IMG_CONTEXT> or <img> a step? <|im_end|>"


def make_config(kind: str, **bench: Any) -> Config:
    return load(
        {
            "run": "test",
            "sources": {
                "mini": {"kind": "mini", "split": "test", "size": 1, "families": ["bars"]},
                "pool": {"kind": "mini", "split": "sft", "size": 1, "families": ["bars"]},
            },
            "policy": {"base": "base", "sources": ["pool"]},
            "seeds": {"sources": ["pool"]},
            "benchmarks": {"mini": {"source": "mini"}},
            "bench": bench,
            "engine": {"kind": kind, "max_model_len": 512, "kv_cache_gib": 1, "max_running": 8},
        }
    )


def candidate(problem: Problem, number: int, **changes: Any) -> dict[str, Any]:
    """A row of the candidate table: the problem's own solution, its answer changed to `number`."""
    steps = list(parse(problem.solution or "").steps)
    row = {"problem_id": problem.problem_id, "candidate": number, "text": "", "steps": steps, "answer": str(number)}
    row |= {"status": "ok", "verdict": "correct", "method": "", "n_tokens": 1, "finish_reason": "stop"}
    return row | changes


@dataclass
class Tables:
    """Problem and candidate tables on disk, a folder that passes for a PRM, and the path of the scores."""

    folder: Path
    problems: list[Problem]
    prm: Path
    out: Path = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.folder / "scores.parquet"
        write_problems(self.folder / "problems.parquet", self.problems)

    def score(self, config: Config, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        tables.write(self.folder / "candidates.parquet", rows, schemas.CANDIDATES)
        score_candidates.score_candidates(
            config, self.prm, self.folder / "problems.parquet", self.folder / "candidates.parquet", self.out
        )
        return tables.read_rows(self.out, schemas.SCORES)


@pytest.fixture
def files(tmp_path: Path, mini_problems: list[Problem]) -> Tables:
    prm = tmp_path / "prm"
    prm.mkdir()
    folders.write_manifest(prm, {})
    return Tables(tmp_path, mini_problems[:3], prm)


class Scripted:
    """A scorer that answers with what `values` gives for an item: probabilities, or scores."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self.prompt_tokens = 0
        self.closed = False

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        found = [self.values(item) for item in items]
        return [one if isinstance(one, StepScores) else StepScores(one) for one in found]

    def close(self) -> None:
        self.closed = True


def use(monkeypatch: pytest.MonkeyPatch, values: Any, reference: Any = None) -> Scripted:
    scorer = Scripted(values)
    monkeypatch.setattr(score_candidates, "open_scorer", lambda *_: scorer)
    monkeypatch.setattr(score_candidates, "_open_reference", lambda *_: Scripted(reference or values))
    return scorer


def halves(item: Item) -> list[float]:
    return [0.5] * (len(item[1]) + 1)


def test_only_candidates_that_parsed_are_scored_and_every_row_is_there(
    files: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Defect 6: an empty candidate must not get a score that an aggregate could like."""
    scorer = use(monkeypatch, halves)
    first, second, _ = files.problems
    broken = candidate(second, 0, status="malformed", steps=[], answer=None)
    rows = files.score(make_config("transformers"), [broken, candidate(first, 1), candidate(first, 0)])
    assert [(row["problem_id"], row["candidate"]) for row in rows] == sorted(
        [(first.problem_id, 0), (first.problem_id, 1), (second.problem_id, 0)]
    )
    lengths = {row["problem_id"]: len(row["probabilities"]) for row in rows}
    assert lengths == {first.problem_id: len(parse(first.solution or "").steps) + 1, second.problem_id: 0}
    assert scorer.closed
    usage = json.loads((files.folder / "scores.parquet.usage.json").read_text())
    assert usage["requests"] == 2


def test_scores_say_for_which_candidates_they_were_made(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two with as many steps each could have the other's scores, and all would fit in number."""
    use(monkeypatch, halves)
    problem = files.problems[0]
    rows = [candidate(problem, 0), candidate(problem, 1)]
    files.score(make_config("transformers"), rows)
    groups = {problem.problem_id: rows}
    assert len(join_scores(groups, files.out)[problem.problem_id]) == 2
    swapped = [row | {"candidate": 1 - row["candidate"]} for row in rows]
    with pytest.raises(UserError, match=r"scores\.parquet: made for other candidates"):
        join_scores({problem.problem_id: swapped}, files.out)
    # A table of an earlier version does not say, and is read as it was.
    pq.write_table(pq.read_table(files.out).replace_schema_metadata(None), files.out)
    assert len(join_scores({problem.problem_id: swapped}, files.out)[problem.problem_id]) == 2


def test_candidates_that_are_too_long_are_counted_in_the_log(
    files: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, lambda item: [] if item[2] == "1" else halves(item))
    rows = files.score(make_config("vllm"), [candidate(files.problems[0], number) for number in range(4)])
    assert [bool(row["probabilities"]) for row in rows] == [True, False, True, True]
    assert "1 of 4 candidates are too long" in capsys.readouterr().err


def test_a_probability_that_is_not_a_number_stops_the_stage_with_the_problem(
    files: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = files.problems[1]
    use(monkeypatch, lambda item: [float("nan")] * (len(item[1]) + 1) if item[0] == wrong else halves(item))
    with pytest.raises(UserError, match=wrong.problem_id):
        files.score(make_config("transformers"), [candidate(problem, 0) for problem in files.problems])
    assert not files.out.exists()


def test_a_lost_marker_stops_the_stage_with_the_problem(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 7: nothing checked that markers still match the steps."""
    use(monkeypatch, lambda item: halves(item)[1:])
    with pytest.raises(UserError, match=rf"'{files.problems[0].problem_id}': \d+ probabilities for"):
        files.score(make_config("transformers"), [candidate(files.problems[0], 0)])


def test_a_candidate_of_an_unknown_problem_is_named(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, halves)
    stranger = replace(files.problems[0], problem_id="stranger")
    with pytest.raises(UserError, match="stranger"):
        files.score(make_config("transformers"), [candidate(stranger, 0)])


def test_a_prm_folder_without_a_manifest_is_refused(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, halves)
    (files.prm / folders.MANIFEST).unlink()
    with pytest.raises(UserError, match=folders.MANIFEST):
        files.score(make_config("transformers"), [candidate(files.problems[0], 0)])


def test_a_prm_folder_with_another_tokenizer_is_refused(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, halves)
    (files.prm / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="differs from the tokenizer that the model was trained with"):
        files.score(make_config("transformers"), [candidate(files.problems[0], 0)])


@pytest.mark.parametrize("kind", ["transformers", "vllm"])
def test_a_model_without_control_tokens_scores_nothing(kind: str, mini_model_folder: Path) -> None:
    with pytest.raises(UserError, match=r"encodes '<step>' as .* tokens, not as one: use a policy folder"):
        score_candidates.open_scorer(make_config(kind), mini_model_folder)


def test_the_stage_fails_where_transformers_gives_other_probabilities(
    files: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = files.problems[2]

    def reference(item: Item) -> list[float]:
        return [0.5 + 0.0123 * (item[0] == wrong)] * (len(item[1]) + 1)

    use(monkeypatch, halves, reference)
    rows = [candidate(problem, number) for problem in files.problems for number in range(4)]
    named = rf"1\.23e-02 on a candidate of problem '{wrong.problem_id}': P\(yes\) after .* is 0\.5000 and 0\.5123;"
    with pytest.raises(UserError, match=named):
        files.score(make_config("vllm", cross_check=3), rows)
    files.score(make_config("vllm", cross_check=3, tolerance=0.02), rows)
    files.score(make_config("vllm", cross_check=0), rows)


@pytest.mark.parametrize(
    ("kind", "dtype", "ours", "theirs", "says"),
    [
        ("vllm", "float32", "ab", "abc", r"did not read the same input \(2 and 3 tokens\).*set engine.kind to transfo"),
        ("vllm", "float32", "ab", "ab", r"the same tokens, so one of them computes .*set engine.kind to transformers$"),
        (
            "transformers",
            "float32",
            "ab",
            "ab",
            r"tree packing and .*computes the model wrongly: set engine.kind to vllm$",
        ),
        (
            "server",
            "bfloat16",
            "ab",
            "ab",
            r"for bfloat16 weights is 0\.05\. .*engine\.dtype to float32, or set engine.kin",
        ),
    ],
)
def test_the_cross_check_says_what_differs_and_never_to_set_what_is_set(
    files: Tables, monkeypatch: pytest.MonkeyPatch, kind: str, dtype: str, ours: str, theirs: str, says: str
) -> None:
    def of(value: float, text: str) -> Any:
        return lambda item: StepScores([value] * len(halves(item)), read=Input.of([ord(letter) for letter in text]))

    use(monkeypatch, of(0.5, ours), of(0.6, theirs))
    config = make_config(kind if kind != "server" else "vllm")
    engine = config.engine.model_copy(update={"dtype": dtype, "kind": kind})
    with pytest.raises(UserError, match=says):
        files.score(config.model_copy(update={"engine": engine}), [candidate(files.problems[0], 0)])


@pytest.mark.parametrize(("dtype", "passes"), [("float32", 5e-4), ("float16", 5e-3), ("bfloat16", 0.03)])
def test_without_a_tolerance_it_is_that_of_the_weights_precision(
    files: Tables, monkeypatch: pytest.MonkeyPatch, dtype: str, passes: float
) -> None:
    config = make_config("vllm")
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"dtype": dtype})})
    rows = [candidate(files.problems[0], 0)]
    use(monkeypatch, halves, lambda item: [0.5 + passes] * len(halves(item)))
    files.score(config, rows)
    use(monkeypatch, halves, lambda item: [0.5 + 4 * passes] * len(halves(item)))
    with pytest.raises(UserError, match=f"tolerance for {dtype} weights"):
        files.score(config, rows)


def counted(files: Tables) -> Tables:
    """The same files with a PRM that was trained on counts."""
    folders.write_manifest(files.prm, {"config": {"prm": {"label": "counts"}}})
    return files


def test_the_table_of_a_prm_of_counts_has_its_concentrations_and_is_read_as_any_other(
    files: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def values(item: Item) -> StepScores:
        kappas = [float(n + 1) for n in range(len(halves(item)))]
        return StepScores() if item[2] == "1" else StepScores(halves(item), kappas)

    use(monkeypatch, values)
    rows = [candidate(files.problems[0], 0), candidate(files.problems[0], 1), candidate(files.problems[1], 0)]
    rows[2] |= {"status": "malformed", "steps": [], "answer": None}
    plain = counted(files).score(make_config("transformers"), rows)
    found = tables.read_rows(files.out, schemas.COUNTED_SCORES)
    of_row = {(row["problem_id"], row["candidate"]): row["concentrations"] for row in found}
    first, long, broken = (of_row[row["problem_id"], row["candidate"]] for row in rows)
    assert first == [float(n + 1) for n in range(len(rows[0]["steps"]) + 1)]
    assert (long, broken) == ([], [])
    assert plain == [{name: row[name] for name in schemas.SCORES.names} for row in found]


def test_the_table_of_another_label_has_no_column_more(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, halves)
    rows = files.score(make_config("transformers"), [candidate(files.problems[0], 0)])
    expected = files.folder / "as_ever.parquet"
    tables.write(expected, rows, schemas.SCORES.with_metadata(pq.read_schema(files.out).metadata))
    assert pq.read_schema(files.out).names == ["problem_id", "candidate", "probabilities"]
    assert files.out.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("kappa", "lost", "says"),
    [
        (1.0, 1, r"probabilities and \d+ concentrations for"),
        (0.0, 0, "not a positive number"),
        (math.nan, 0, "not a positive number"),
    ],
)
def test_concentrations_that_are_none_stop_the_stage_with_the_problem(
    files: Tables, monkeypatch: pytest.MonkeyPatch, kappa: float, lost: int, says: str
) -> None:
    use(monkeypatch, lambda item: StepScores(halves(item), [kappa] * (len(halves(item)) - lost)))
    with pytest.raises(UserError, match=rf"'{files.problems[0].problem_id}': .*{says}"):
        counted(files).score(make_config("transformers"), [candidate(files.problems[0], 0)])


def test_the_cross_check_looks_at_concentrations_too(files: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 / (1 + 4) against 1 / (1 + 4.1), where every probability agrees."""
    wrong = files.problems[1]

    def of(kappa: float) -> Any:
        return lambda item: StepScores(halves(item), [kappa if item[0] == wrong else 4.0] * len(halves(item)))

    use(monkeypatch, of(4.1), of(4.0))
    rows = [candidate(problem, 0) for problem in files.problems]
    with pytest.raises(UserError, match=rf"differ by 3\.92e-03 on a candidate of problem '{wrong.problem_id}'"):
        counted(files).score(make_config("vllm", cross_check=3), rows)
    files.score(make_config("vllm", cross_check=3, tolerance=0.004), rows)


def test_the_cross_check_visits_every_problem_before_it_visits_one_twice(mini_problems: list[Problem]) -> None:
    items: list[Item] = [(problem, ("a",), str(n)) for problem in mini_problems for n in range(5)]
    order = spread(items)
    assert sorted(order) == list(range(len(items)))
    count = len(mini_problems)
    for turn in range(5):
        visited = {items[index][0].problem_id for index in order[turn * count : (turn + 1) * count]}
        assert len(visited) == count
    backwards = spread(items[::-1])
    assert [items[index][1:] for index in order] == [items[::-1][index][1:] for index in backwards]


@pytest.fixture(scope="module")
def hard_problems(mini_problems: list[Problem]) -> list[Problem]:
    """Problems with an image, without one, and with control strings in the question."""
    return [
        *mini_problems[:4],
        replace(mini_problems[4], images=()),
        replace(mini_problems[5], question=f"{STRANGE} {mini_problems[5].question}"),
    ]


@pytest.mark.slow
def test_vllm_gives_the_probabilities_of_transformers_one_a_marker(
    tmp_path: Path, hard_problems: list[Problem], any_policy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defect 8, too: a question that contains `<prm>` or `<step>` shifts no marker."""
    files = Tables(tmp_path, hard_problems, any_policy_folder)
    rows = [candidate(problem, number) for problem in hard_problems for number in range(3)]
    rows.append(candidate(hard_problems[0], 3, steps=["7 * 8 = 56"] * 100))
    scored = files.score(make_config("vllm", cross_check=5), rows)
    assert "1 of 19 candidates are too long" in capsys.readouterr().err
    reference = TransformersScorer(any_policy_folder)
    by_id = {problem.problem_id: problem for problem in hard_problems}
    rows.sort(key=lambda row: (row["problem_id"], row["candidate"]))
    for row, score in zip(rows, scored, strict=True):
        if len(row["steps"]) == 100:
            assert score["probabilities"] == []
            continue
        (one,) = reference.score([(by_id[row["problem_id"]], tuple(row["steps"]), row["answer"])])
        expected = one.probabilities
        assert len(expected) == len(row["steps"]) + 1
        assert score["probabilities"] == pytest.approx(expected, abs=1e-4)
        assert len({round(value, 4) for value in expected}) > 1  # the mini model does not say one thing only


@pytest.mark.heavy
@pytest.mark.slow
def test_vllm_gives_the_concentrations_of_transformers(
    tmp_path: Path, hard_problems: list[Problem], counts_folder: Path
) -> None:
    files = Tables(tmp_path, hard_problems, counts_folder)
    rows = [candidate(problem, number) for problem in hard_problems for number in range(2)]
    files.score(make_config("vllm", cross_check=5), rows)
    scored = {(row["problem_id"], row["candidate"]): row for row in tables.read_rows(files.out, schemas.COUNTED_SCORES)}
    by_id = {problem.problem_id: problem for problem in hard_problems}
    items: list[Item] = [(by_id[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in rows]
    seen = set()
    for row, expected in zip(rows, TransformersScorer(counts_folder).score(items), strict=True):
        found = scored[row["problem_id"], row["candidate"]]
        assert found["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)
        assert found["concentrations"] == pytest.approx(expected.concentrations, rel=1e-3)
        seen |= {round(value, 3) for value in found["concentrations"]}
    assert len(seen) > 2


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def llama_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An InternVL with a Llama's language model and tokenizer, in single and in half precision."""
    return tiny_internvl.build(tmp_path_factory.mktemp("models") / "llama", dtype=request.param)


@pytest.mark.slow
def test_both_engines_read_the_rows_that_training_trains(
    tmp_path: Path, hard_problems: list[Problem], llama_folder: Path
) -> None:
    """The tokenizer encodes "Yes" as one piece and has another one of the name "Yes", which vLLM would look up.

    And in bfloat16 the logits of both are read from the hidden state in float32: rounded ones differ by more.
    """
    words = folders.load_processor(llama_folder).tokenizer
    assert words.convert_tokens_to_ids(YES) != control_ids(words)[YES]
    dtype = folders.weights_dtype(llama_folder, "auto")
    files = Tables(tmp_path, hard_problems, llama_folder)
    rows = [candidate(problem, number) for problem in hard_problems for number in range(3)]
    config = make_config("vllm", cross_check=len(rows))
    config = config.model_copy(update={"engine": config.engine.model_copy(update={"dtype": dtype})})
    scored = files.score(config, rows)
    assert len({round(value, 3) for row in scored for value in row["probabilities"]}) > len(rows)


@pytest.mark.parametrize("scorer", [TransformersScorer, TreeScorer])
def test_in_bfloat16_the_logits_are_not_rounded(scorer: Any, hard_problems: list[Problem], tmp_path: Path) -> None:
    """The scores are those of the last hidden state, projected in float64; the model's own logits have 8 bits."""
    folder = tiny_internvl.build(tmp_path / "half", dtype=torch.bfloat16)
    model, processor = folders.load_model(folder, "bfloat16"), folders.load_processor(folder)
    seen: list[Any] = []
    model.lm_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][0]))
    problem = hard_problems[0]
    item: Item = (problem, parse(problem.solution or "").steps, "5")
    inputs = processor(
        text=[Renderer(processor).marked(*item)],
        images=[decode_image(image) for image in problem.images],
        return_tensors="pt",
        text_kwargs={"add_special_tokens": False},
    )
    ids = control_ids(processor.tokenizer)
    markers = (inputs["input_ids"][0] == ids[MARKER]).nonzero()[:, 0]
    with torch.no_grad():
        logits = model(**inputs.to(dtype=torch.bfloat16), logits_to_keep=markers).logits[0].double()
    exact = seen[0].double() @ model.lm_head.weight.detach().double().T
    expected, rounded = (one[:, [ids[NO], ids[YES]]].softmax(-1)[:, 1].tolist() for one in (exact, logits))
    (found,) = scorer(folder, dtype="bfloat16").score([item])
    loose = 1e-6 if scorer is TransformersScorer else 5e-3  # a tree's attention rounds in another order
    assert found.probabilities == pytest.approx(expected, abs=loose)
    assert max(abs(a - b) for a, b in zip(expected, rounded, strict=True)) > 1e-4


@pytest.mark.slow
def test_every_marker_that_is_read_follows_a_step_or_the_answer(
    hard_problems: list[Problem], mini_policy_folder: Path
) -> None:
    """Defect 8: control strings in a question are read as plain text."""
    processor = folders.load_processor(mini_policy_folder)
    ids = control_ids(processor.tokenizer)
    renderer = Renderer(processor)
    for problem in hard_problems:
        steps = parse(problem.solution or "").steps
        tokens = processor.tokenizer.encode(renderer.marked(problem, steps, "5"), add_special_tokens=False)
        before = [tokens[index - 1] for index, token in enumerate(tokens) if token == ids[MARKER]]
        assert before == [ids[STEP_CLOSE]] * len(steps) + [ids[ANSWER_CLOSE]]


@pytest.mark.slow
def test_an_unfinished_solution_has_a_marker_a_step(hard_problems: list[Problem], mini_policy_folder: Path) -> None:
    scorer = TransformersScorer(mini_policy_folder)
    steps = parse(hard_problems[0].solution or "").steps
    (whole,) = scorer.score([(hard_problems[0], steps, "5")])
    (part,) = scorer.score([(hard_problems[0], steps[:2], None)])
    assert part.probabilities == pytest.approx(whole.probabilities[:2], abs=1e-6)
