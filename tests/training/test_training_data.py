"""Order, padding and labels of what training reads."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmprm.config import Training
from mmprm.data.problem import Problem
from mmprm.model import folders
from mmprm.model.step_text import STEP_OPEN, Renderer, control_ids, parse
from mmprm.runtime.errors import UserError
from mmprm.training import policy_examples
from mmprm.training.batches import MicroBatches, PaddedCollator
from mmprm.training.examples import IGNORE, Example, check_refusals
from mmprm.training.update_plan import examples_by_update, update_plan


def settings(**changes: Any) -> Training:
    return Training(learning_rate=1e-3, **changes)


def example(length: int, labels: int = 1) -> Example:
    values = np.full(length, IGNORE, dtype=np.float32)
    values[:labels] = 1
    return Example("a problem", {"input_ids": np.zeros(length, dtype=np.int64)}, values, ())


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=60),
    batch_size=st.integers(1, 20),
    micro_batch_size=st.integers(1, 20),
    epochs=st.integers(1, 3),
)
def test_each_epoch_reads_every_example_once_in_updates_of_the_batch_size(
    lengths, batch_size, micro_batch_size, epochs
):
    training = settings(batch_size=batch_size, micro_batch_size=micro_batch_size, epochs=epochs)
    plan, parts = update_plan([example(length) for length in lengths], training, 1, seed=0)
    assert Counter(index for part in plan for index in part) == dict.fromkeys(range(len(lengths)), epochs)
    assert all(0 < len(part) <= micro_batch_size for part in plan)
    updates = [list(chain(*plan[first : first + parts])) for first in range(0, len(plan), parts)]
    assert [len(update) for update in updates[:-1]] == [batch_size] * (len(updates) - 1)
    stream = list(chain(*updates))
    for epoch in range(epochs - 1):  # an update may reach over the end of an epoch, so compare as far as it is whole
        whole = (epoch + 1) * len(lengths) // batch_size * batch_size
        assert max(Counter(stream[:whole]).values(), default=0) <= epoch + 1


def test_the_order_is_decided_by_the_seed():
    examples, training = [example(5)] * 40, settings(batch_size=8, micro_batch_size=4, epochs=2)
    first, _ = update_plan(examples, training, 1, seed=1)
    assert first == update_plan(examples, training, 1, seed=1)[0]
    assert first != update_plan(examples, training, 1, seed=2)[0]
    stopped = training.model_copy(update={"max_steps": 3})
    assert update_plan(examples, stopped, 1, seed=1)[0] == first[:6]


@given(
    labels=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    batch_labels=st.integers(1, 40),
    micro_batch_size=st.integers(1, 8),
    processes=st.integers(1, 3),
)
def test_updates_may_be_counted_in_labels(labels, batch_labels, micro_batch_size, processes):
    training = settings(batch_labels=batch_labels, micro_batch_size=micro_batch_size)
    plan, parts = update_plan([example(12, count) for count in labels], training, processes, seed=0)
    assert sorted(chain(*examples_by_update(plan, parts))) == list(range(len(labels)))
    assert all(plan) and parts % processes == 0
    for first in range(0, len(plan) - parts, parts):
        counts = [labels[index] for part in plan[first : first + parts] for index in part if index >= 0]
        assert sum(counts) >= batch_labels
        assert parts > 1 or len(plan) // parts < 3 or sum(counts[:-1]) < batch_labels + 9 * processes


@given(count=st.integers(1, 40), batch_size=st.integers(3, 9), processes=st.integers(1, 3))
def test_every_process_has_as_many_micro_batches(count, batch_size, processes):
    """Else accelerate would repeat one to fill the round, and its labels would count twice."""
    training = settings(batch_size=batch_size, micro_batch_size=2)
    plan, parts = update_plan([example(5)] * count, training, processes, seed=0)
    assert parts % processes == 0
    assert len(plan) % processes == 0


@given(count=st.integers(1, 40), batch_labels=st.none() | st.integers(1, 40), processes=st.integers(2, 5))
def test_an_update_is_over_the_same_examples_whatever_the_number_of_processes(count, batch_labels, processes):
    examples = [example(12, 1 + index % 7) for index in range(count)]
    training = settings(batch_size=6, micro_batch_size=2, batch_labels=batch_labels)
    alone = examples_by_update(*update_plan(examples, training, 1, seed=0))
    plan, parts = update_plan(examples, training, processes, seed=0)
    assert examples_by_update(plan, parts) == alone
    read = MicroBatches(examples, plan)
    labels = sum(int((row.labels != IGNORE).sum()) for item in range(len(read)) for _, row in read[item])
    assert labels == sum(1 + index % 7 for update in alone for index in update), "company has no labels"


def test_only_the_solution_has_a_loss(mini_policy_folder: Path, mini_problems: list[Problem]):
    processor = folders.load_processor(mini_policy_folder)
    renderer = Renderer(processor, "Write <step> and </step> around each step.")
    examples, refused = policy_examples.supervised_examples(mini_problems, processor, renderer, 512)
    assert refused == [] and len(examples) == len(mini_problems)
    for example, problem in zip(examples, mini_problems, strict=True):
        learnt = example.labels != IGNORE
        assert processor.tokenizer.decode(example.labels[learnt]) == problem.solution + processor.tokenizer.eos_token
        assert learnt[learnt.argmax() :].all(), "no hole in the solution"


def test_a_label_stands_where_the_logits_that_predict_it_are(mini_policy_folder: Path, mini_problems: list[Problem]):
    processor = folders.load_processor(mini_policy_folder)
    examples, _ = policy_examples.supervised_examples(mini_problems[:5], processor, Renderer(processor), 512)
    batch = PaddedCollator(processor, shift=1)([list(enumerate(examples))])
    assert batch["pixel_values"].shape[0] == 5
    for row, example in enumerate(examples):
        kept = batch["labels"][row] != IGNORE
        following = batch["input_ids"][row].roll(-1)
        assert (batch["labels"][row][kept] == following[kept]).all()
        first = int(kept.nonzero()[0])
        assert following[first] == control_ids(processor.tokenizer)[STEP_OPEN]
        assert int(kept.sum()) == int((example.labels != IGNORE).sum())
        assert int(batch["attention_mask"][row].sum()) == example.length
    assert set(batch["logits_to_keep"].tolist()) == set((batch["labels"] != IGNORE).nonzero()[:, 1].tolist())


def test_rows_without_a_usable_solution_are_refused_with_a_reason(
    mini_policy_folder: Path, mini_problems: list[Problem]
):
    fields = vars(mini_problems[0])
    rows = [
        Problem(**{name: fields[name] for name in Problem.__dataclass_fields__} | {"problem_id": name} | changes)
        for name, changes in {
            "none": {"solution": None},
            "untagged": {"solution": "the answer is 4"},
            "marked": {"solution": "<step>a <prm> b</step><answer>4</answer>"},
            "long": {"question": "how many? " * 300},
            "fine": {},
        }.items()
    ]
    processor = folders.load_processor(mini_policy_folder)
    examples, refused = policy_examples.supervised_examples(rows, processor, Renderer(processor), 512)
    assert [example.problem_id for example in examples] == ["fine"]
    assert {refusal.problem_id: refusal.reason for refusal in refused} == {
        "none": "no_solution",
        "untagged": "unparsed_solution",
        "marked": "unparsed_solution",
        "long": "too_long",
    }
    with pytest.raises(UserError, match=r"4 of 5 rows .*no_solution.*max_refused_share"):
        check_refusals(refused, 5, 0.5, "policy training")
    check_refusals(refused, 5, 0.8, "policy training")


def test_a_solution_that_is_too_long_is_cut_at_a_step(mini_policy_folder: Path, mini_problems: list[Problem]):
    processor = folders.load_processor(mini_policy_folder)
    renderer = Renderer(processor)
    (whole,), _ = policy_examples.supervised_examples(mini_problems[:1], processor, renderer, 512)
    (short,), refused = policy_examples.supervised_examples(mini_problems[:1], processor, renderer, whole.length - 4)
    steps = parse(mini_problems[0].solution or "").steps
    text = processor.tokenizer.decode(short.labels[short.labels != IGNORE])
    assert text in ["".join(f"<step>{step}</step>" for step in steps[:count]) for count in range(1, len(steps) + 1)]
    assert np.array_equal(whole.labels[: short.length], short.labels)
    assert [refusal.reason for refusal in refused] == ["cut_at_a_step"]
    check_refusals(refused, 1, 0.0, "policy training")
