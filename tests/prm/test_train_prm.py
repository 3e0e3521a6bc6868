"""PRM training: labels, markers, loss; and end to end on a random mini model."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmprm.config.training import training_seed
from mmprm.data import schemas, tables
from mmprm.data.problem import Problem, read_problems
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, Renderer, control_ids
from mmprm.prm import marker_examples, train_prm
from mmprm.prm.scorers import TransformersScorer, TreeScorer
from mmprm.runtime.errors import UserError
from mmprm.training import launch, losses, update_plan
from mmprm.training.batches import PaddedCollator
from mmprm.training.examples import IGNORE
from mmprm.training.job import TrainJob


@pytest.fixture(scope="module")
def processor(mini_policy_folder: Path):
    return folders.load_processor(mini_policy_folder)


def _examples(rows, problems, processor, label="soft", max_length=512):
    by_id = {problem.problem_id: problem for problem in problems}
    return marker_examples.ExampleBuilder(by_id, processor, Renderer(processor), label, max_length).build(rows)


def test_soft_labels_are_monte_carlo_values_and_unprobed_ones_are_unknown(path_row, mini_problems: list[Problem]):
    row = path_row(
        mini_problems[0], good=True, hard=[1, 1, None, *[1] * (len(path_row(mini_problems[0], True)["hard"]) - 3)]
    )
    n = len(row["steps"])
    assert marker_examples.marker_labels(row, "soft").tolist() == [0.5, *[IGNORE] * (n - 1), 1.0]
    assert marker_examples.marker_labels(row, "hard").tolist() == [1.0, 1.0, IGNORE, *[1.0] * (n - 2)]
    bad = path_row(mini_problems[0], good=False)
    assert marker_examples.marker_labels(bad, "soft").tolist() == [0.5, 0.0]
    assert marker_examples.marker_labels(bad, "hard").tolist() == [1.0, 0.0]
    nothing = path_row(mini_problems[0], good=False, n_rollouts=[8, 0], n_correct=[4, 0], soft=[0.5, None])
    for label in ("soft", "counts"):
        assert marker_examples.marker_labels(nothing, label).tolist() == [0.5, IGNORE], "no graded rollout, no label"


def test_soft_labels_are_what_the_labels_stage_made_of_the_counts_and_counts_stay_counts(path_row, mini_problems):
    row = path_row(mini_problems[0], good=False, soft=[0.8, 0.0])
    assert marker_examples.marker_labels(row, "soft").tolist() == pytest.approx([0.8, 0.0])
    assert marker_examples.marker_labels(row, "counts").tolist() == [0.5, 0.0]


def test_an_outcome_variant_learns_from_the_verdicts_of_answers_alone(path_row, mini_problems, processor):
    """An outcome reward model: the steps' labels are ignored, and a path without an answer is not trained on."""
    right, no_answer = (path_row(mini_problems[0], good) for good in (True, False))
    n = len(right["steps"])
    wrong = right | {"kind": "outcome", "hard": [None] * n + [0], "n_correct": [None] * n + [0], "path_id": "wrong"}
    assert marker_examples.marker_labels(right, "outcome").tolist() == [IGNORE] * n + [1.0]
    examples, refused = _examples([right, wrong, no_answer], mini_problems, processor, "outcome")
    assert [refusal.reason for refusal in refused] == ["no_label"] and refused[0].excused
    for example, verdict in zip(examples, (1.0, 0.0), strict=True):
        assert example.labels[example.labels != IGNORE].tolist() == [verdict]
        assert example.labels[-1] == verdict, "at the last marker"


def test_labels_stand_at_their_markers(path_row, mini_problems: list[Problem], processor):
    rows = [path_row(mini_problems[0], good) for good in (True, False)]
    examples, refused = _examples(rows, mini_problems, processor, label="hard")
    assert refused == []
    marker = control_ids(processor.tokenizer)[MARKER]
    for row, example in zip(rows, examples, strict=True):
        at = np.flatnonzero(example.labels != IGNORE)
        assert np.array_equal(at, np.flatnonzero(example.tokens["input_ids"] == marker))
        assert example.labels[at].tolist() == row["hard"]


def test_a_question_with_markers_and_steps_in_it_shifts_no_label(path_row, mini_problems: list[Problem], processor):
    """Defect 8 of the public code."""
    fields = {name: getattr(mini_problems[0], name) for name in Problem.__dataclass_fields__}
    asked = Problem(**fields | {"question": "What do <prm> and <step>this</step> mean? <prm> <|im_end|>"})
    plain, asking = (_examples([path_row(p, True)], [p], processor, "hard")[0][0] for p in (mini_problems[0], asked))
    marker = control_ids(processor.tokenizer)[MARKER]
    ids = asking.tokens["input_ids"]
    assert np.array_equal(ids == marker, asking.labels != IGNORE)
    tail = len(plain.labels) - int(np.argmax(plain.labels != IGNORE))
    assert np.array_equal(plain.labels[-tail:], asking.labels[-tail:])


def test_markers_that_do_not_match_the_labels_stop_training(path_row, mini_problems: list[Problem], processor):
    """Defects 4 and 7 of the public code: labels a block of steps, markers a step; nothing checks the numbers."""
    row = path_row(mini_problems[0], good=False)
    columns = ("n_correct", "n_rollouts", "hard", "label_source", "soft")
    with pytest.raises(UserError, match=r"2 markers in its tokens, 1 labels"):
        _examples([row | {name: row[name][:1] for name in columns}], mini_problems, processor)
    with pytest.raises(UserError, match=r"3 markers in its tokens, 2 labels"):
        _examples([row | {"steps": [row["steps"][0], f"a {MARKER} b"]}], mini_problems, processor)


def test_a_path_that_is_too_long_is_cut_at_a_step_and_keeps_its_first_labels(
    path_row, mini_problems: list[Problem], processor
):
    row = path_row(mini_problems[0], good=True)
    (whole,), _ = _examples([row], mini_problems, processor, "hard")
    (short,), refused = _examples([row], mini_problems, processor, "hard", max_length=whole.length - 1)
    assert short.tokens["input_ids"][-1] == control_ids(processor.tokenizer)[MARKER]
    assert np.array_equal(short.labels, whole.labels[: short.length])
    assert (short.labels != IGNORE).sum() == len(row["steps"])
    assert "1 labels dropped" in refused[0].detail
    none, refused = _examples([row], mini_problems, processor, "hard", max_length=20)
    assert none == [] and [refusal.reason for refusal in refused] == ["too_long"]


@given(length=st.integers(20, 400), which=st.integers(0, 11), good=st.booleans())
def test_every_marker_that_fits_keeps_its_label(
    path_row, mini_problems: list[Problem], processor, length: int, which: int, good: bool
):
    row = path_row(mini_problems[which], good)
    (whole,), _ = _examples([row], mini_problems, processor, "hard", 10_000)
    examples, refused = _examples([row], mini_problems, processor, "hard", length)
    markers = np.flatnonzero(whole.tokens["input_ids"] == control_ids(processor.tokenizer)[MARKER])
    fitting = markers[markers < length]
    if whole.length <= length:
        assert examples[0].length == whole.length and refused == []
    elif len(fitting) == 0:
        assert examples == [] and refused[0].reason == "too_long"
    else:
        assert examples[0].length == fitting[-1] + 1
        assert examples[0].labels[fitting].tolist() == row["hard"][: len(fitting)]
        assert f"{len(markers) - len(fitting)} labels dropped" in refused[0].detail


@pytest.mark.slow
def test_paths_that_were_cut_are_counted_in_the_card(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], processor, tmp_path: Path
):
    rows = [row for row in tables.read_rows(prm_tables[1], schemas.PATHS) if row["split"] == "train"]
    lengths = [example.length for example in _examples(rows, read_problems(prm_tables[0]), processor, "hard")[0]]
    config = training_config(max_steps=1, max_length=sorted(lengths)[-3])
    train_prm.train_prm(config, "soft", mini_policy_folder, *prm_tables, tmp_path / "work", tmp_path / "prm")
    cut = sum(length > config.prm.training.max_length for length in lengths)
    assert cut > 0
    assert f"refused or cut: cut_at_a_step {cut}" in (tmp_path / "prm" / "README.md").read_text()
    assert len(json.loads((tmp_path / "prm" / "refused.json").read_text())) == cut


def test_a_policy_without_control_tokens_trains_no_prm(
    training_config, mini_model_folder: Path, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path
):
    base = shutil.copytree(mini_model_folder, tmp_path / "base")
    folders.write_manifest(base, {})
    train = functools.partial(train_prm.train_prm, training_config(), "soft")
    with pytest.raises(UserError, match=r"encodes '<step>' as .* tokens, not as one: use a policy folder"):
        train(base, *prm_tables, tmp_path / "work", tmp_path / "prm")
    # Nor does one whose tokenizer is not the one that its data were made with.
    other = shutil.copytree(mini_policy_folder, tmp_path / "other")
    shutil.copy(base / "tokenizer.json", other / "tokenizer.json")
    with pytest.raises(UserError, match=r"other/tokenizer\.json"):
        train(other, *prm_tables, tmp_path / "work", tmp_path / "prm")


def test_a_further_training_has_the_same_paths_and_the_same_start_in_another_order(
    training_config,
    mini_policy_folder: Path,
    prm_tables: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Also where paths are drawn: what a variant is trained on is the variant's, not the training's."""
    config = training_config(variants={"few": {"max_paths_per_problem": 1}}, replicates=3, batch_size=2)
    jobs, starts = [], []

    def fit(job: TrainJob, out: Path) -> None:
        jobs.append(job)
        starts.append(folders.fingerprint(job.start))
        raise InterruptedError

    monkeypatch.setattr(launch, "fit", fit)
    for name in ("few", "few@1", "few@2"):
        with pytest.raises(InterruptedError):
            train_prm.train_prm(
                config, name, mini_policy_folder, *prm_tables, tmp_path / name, tmp_path / f"prm/{name}"
            )
    paths = [[example.tokens["input_ids"].tolist() for example in job.examples] for job in jobs]
    assert paths[0] == paths[1] == paths[2] and len(set(starts)) == 1
    assert jobs[0].seed == config.seed and len({job.seed for job in jobs}) == 3
    orders = []
    for job in jobs:
        plan, parts = update_plan.update_plan(job.examples, job.training, 1, job.seed)
        orders.append([list(update) for update in update_plan.examples_by_update(plan, parts)])
    assert orders[0] != orders[1] != orders[2] != orders[0]


@pytest.mark.slow
def test_a_further_training_is_another_model_that_says_its_seed(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path
):
    config = training_config(max_steps=2, batch_size=4, learning_rate=1e-2, replicates=2)
    for name in ("soft", "soft@1"):
        train_prm.train_prm(config, name, mini_policy_folder, *prm_tables, tmp_path / name, tmp_path / f"prm/{name}")
    first, second = (folders.check_manifest(tmp_path / f"prm/{name}")["info"] for name in ("soft", "soft@1"))
    assert (first["variant"], first["config"]["seed"]) == ("soft", config.seed)
    assert (second["variant"], second["config"]["seed"]) == ("soft@1", training_seed(config.seed, 1))
    assert {key: first[key] for key in ("base", "examples", "markers", "mean_label")} == {
        key: second[key] for key in ("base", "examples", "markers", "mean_label")
    }
    weights = [
        folders.load_model(tmp_path / f"prm/{name}").get_input_embeddings().weight for name in ("soft", "soft@1")
    ]
    assert not torch.equal(*weights)
    assert f"| seed | {second['config']['seed']} |" in (tmp_path / "prm/soft@1/README.md").read_text()


def test_the_best_checkpoint_needs_held_out_paths(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path
):
    rows = tables.read_rows(prm_tables[1], schemas.PATHS)
    tables.write(tmp_path / "all.parquet", [row | {"split": "train"} for row in rows], schemas.PATHS)
    how = (mini_policy_folder, prm_tables[0], tmp_path / "all.parquet", tmp_path / "work", tmp_path / "prm")
    with pytest.raises(UserError, match=r"keep_best: no path of split dev .* labels\.dev_share"):
        train_prm.train_prm(training_config(keep_best=True), "soft", *how)


@pytest.mark.slow
def test_a_training_that_stays_above_a_constant_on_held_out_problems_says_so(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path, capsys
):
    """Where every label is 1/2 nobody predicts better than by always saying so."""
    rows = tables.read_rows(prm_tables[1], schemas.PATHS)
    rows = [row | {"soft": [0.5] * len(row["soft"])} if row["split"] == "dev" else row for row in rows]
    tables.write(tmp_path / "even.parquet", rows, schemas.PATHS)
    how = (mini_policy_folder, prm_tables[0], tmp_path / "even.parquet", tmp_path / "work", tmp_path / "prm")
    train_prm.train_prm(training_config(keep_best=True, save_every=1, max_steps=1), "soft", *how)
    info = json.loads((tmp_path / "prm" / "manifest.json").read_text())["info"]
    assert info["held_out_constant"] == pytest.approx(np.log(2))
    assert info["held_out_losses"][0]["loss"] > info["held_out_constant"]
    assert "always predicting the mean label loses 0.6931" in capsys.readouterr().err


def test_training_and_scoring_read_the_same_tokens(
    path_row, mini_problems: list[Problem], mini_policy_folder: Path, processor
):
    """Defect 5 of the public code: training joins steps in one way, inference in another."""
    rows = [path_row(problem, good) for problem in mini_problems[:3] for good in (True, False)]
    examples, _ = _examples(rows, mini_problems, processor, "hard")
    scorer = TransformersScorer(mini_policy_folder, "", "float32")
    read = []
    scorer._model.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"][0].numpy()), with_kwargs=True
    )
    by_id = {problem.problem_id: problem for problem in mini_problems}
    items = [(by_id[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in rows]
    scorer.score(items)
    assert len(read) == len(examples)
    for ids, example in zip(read, examples, strict=True):
        assert np.array_equal(ids, example.tokens["input_ids"])


def test_the_loss_is_the_mean_cross_entropy_of_the_two_logits_over_labelled_markers():
    labels = torch.full((2, 6), IGNORE)
    labels[0, 2], labels[0, 5], labels[1, 5] = 0.25, 1.0, 0.0
    logits = torch.randn(2, 2, 9, generator=torch.manual_seed(0), requires_grad=True)  # columns 2 and 5 are kept
    loss = losses.marker_loss(3, 7)(SimpleNamespace(logits=logits), labels, num_items_in_batch=torch.tensor(5))
    yes = logits.detach()[..., 7].sub(logits.detach()[..., 3]).sigmoid()
    parts = [0.25 * yes[0, 0].log() + 0.75 * (1 - yes[0, 0]).log(), yes[0, 1].log(), (1 - yes[1, 1]).log()]
    assert float(loss.detach()) == pytest.approx(-float(sum(parts)) / 5, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[1, 0].abs().sum() == 0, "a marker without a label has no gradient"
    assert logits.grad[..., [0, 1, 2, 4, 5, 6, 8]].abs().sum() == 0, "nor have the other words"
    assert logits.grad[0, 0, 7] == pytest.approx(float(yes[0, 0] - 0.25) / 5, rel=1e-4)


def test_unprobed_markers_are_not_in_the_batch_and_carry_no_gradient(
    path_row, mini_problems: list[Problem], mini_policy_folder: Path, processor
):
    row = path_row(mini_problems[0], good=True)
    (example,), _ = _examples([row], mini_problems, processor, "soft")
    batch = PaddedCollator(processor, shift=0)([[(0, example)]])
    assert len(batch["logits_to_keep"]) == 2 < len(row["hard"])
    ids = control_ids(processor.tokenizer)
    model = folders.load_model(mini_policy_folder)
    labels = batch.pop("labels")
    batch.pop("examples")
    outputs = model(**batch)
    loss = losses.marker_loss(ids[NO], ids[YES])(outputs, labels)
    p = outputs.logits[0][:, [ids[NO], ids[YES]]].softmax(-1)[:, 1]
    expected = -(0.5 * p[0].log() + 0.5 * (1 - p[0]).log() + p[1].log()) / 2
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_the_marker_starts_as_the_text_that_the_configuration_names(training_config, mini_policy_folder, tmp_path):
    config = training_config()
    folder = train_prm.initial_prm(config, mini_policy_folder, tmp_path / "start")
    tokenizer = folders.load_processor(folder).tokenizer
    weight = folders.load_model(folder).get_input_embeddings().weight
    pieces = tokenizer.encode(config.prm.marker_init, add_special_tokens=False)
    assert torch.equal(weight[tokenizer.convert_tokens_to_ids(MARKER)], weight[pieces].mean(dim=0))
    before = folders.load_model(mini_policy_folder).get_input_embeddings().weight
    assert int((before != weight).any(dim=1).sum()) == 1, "no other embedding changes"


def test_a_variant_overrides_the_training_and_limits_the_paths_of_a_problem(training_config):
    config = training_config(variants={"few": {"learning_rate": 1e-5, "max_paths_per_problem": 2}, "soft": {}})
    assert config.prm.training_of("few").learning_rate == 1e-5
    assert config.prm.training_of("few").batch_size == config.prm.training_of("soft").batch_size
    rows = [{"path_id": f"{problem}/{index}", "problem_id": problem} for problem in "ab" for index in range(5)]
    kept = marker_examples.limit_trajectories(rows, 2, seed=0)
    assert [row["problem_id"] for row in kept] == ["a", "a", "b", "b"]
    again = marker_examples.limit_trajectories(rows[::-1], 2, seed=0)
    assert {row["path_id"] for row in again} == {row["path_id"] for row in kept}
    assert marker_examples.limit_trajectories(rows, None, seed=0) == rows


@pytest.mark.slow
def test_a_prm_learns_its_labels_from_the_training_split_alone(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path
):
    config = training_config(variants={"hard": {"label": "hard", "epochs": 16, "learning_rate": 3e-3}}, batch_size=8)
    train_prm.train_prm(config, "hard", mini_policy_folder, *prm_tables, tmp_path / "work", tmp_path / "prm")
    losses = [row["loss"] for row in json.loads((tmp_path / "prm" / "losses.json").read_text())]
    assert len(losses) == 32 and losses[-1] < 0.5 * losses[0]
    info = folders.check_manifest(tmp_path / "prm")["info"]
    assert (info["problems"], info["examples"]) == (8, 16) and info["base"] == folders.fingerprint(mini_policy_folder)
    problems = read_problems(prm_tables[0])
    rows = tables.read_rows(prm_tables[1], schemas.PATHS)
    by_id = {problem.problem_id: problem for problem in problems}
    rows = [row for row in rows if row["split"] == "train"]
    items = [(by_id[row["problem_id"]], tuple(row["steps"]), row["answer"]) for row in rows]
    for row, score in zip(rows, TreeScorer(tmp_path / "prm").score(items), strict=True):
        assert (np.asarray(score.probabilities) > 0.5).tolist() == [label == 1 for label in row["hard"]], row["path_id"]
    assert "labels: hard" in (tmp_path / "prm" / "README.md").read_text()


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_stops_with_the_problems_of_its_batch(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path, monkeypatch
):
    load = folders.load_model

    def broken(*args, **kwargs):
        model = load(*args, **kwargs)
        with torch.no_grad():
            model.get_input_embeddings().weight[control_ids(folders.load_processor(args[0]).tokenizer)[MARKER]] = np.nan
        return model

    monkeypatch.setattr(folders, "load_model", broken)
    config = training_config()
    with pytest.raises(UserError, match="the loss is nan at update 1"):
        train_prm.train_prm(config, "soft", mini_policy_folder, *prm_tables, tmp_path / "work", tmp_path / "prm")
    batch = json.loads((tmp_path / "work" / "nan_batch.json").read_text())
    assert batch["problem_ids"] and batch["step"] == 1
    assert not (tmp_path / "prm" / "manifest.json").exists()


@pytest.mark.slow
def test_a_held_out_loss_that_is_not_a_number_stops_the_training_too(
    training_config, mini_policy_folder: Path, prm_tables: tuple[Path, Path], tmp_path: Path, monkeypatch
):
    load = folders.load_model

    def broken(*args, **kwargs):
        model = load(*args, **kwargs)
        model.lm_head.register_forward_hook(lambda head, _, logits: logits if head.training else logits * np.nan)
        return model

    monkeypatch.setattr(folders, "load_model", broken)
    with pytest.raises(UserError, match="the loss is nan at update 2"):
        config = training_config(keep_best=True, save_every=2)
        train_prm.train_prm(config, "soft", mini_policy_folder, *prm_tables, tmp_path / "work", tmp_path / "prm")
    found = json.loads((tmp_path / "work" / "nan_batch.json").read_text())["problem_ids"]
    dev = {row["problem_id"] for row in tables.read_rows(prm_tables[1], schemas.PATHS) if row["split"] == "dev"}
    assert found and set(found) <= dev
