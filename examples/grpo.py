"""Train a run's policy further by GRPO, rewarded by the run's PRM, and watch the true accuracy beside the reward.

    pip install --no-deps -r examples/requirements.txt
    python examples/grpo.py results/mini --steps 60 --out grpo

In: a finished run (its policy, a PRM, a problem table). Out: `curves.json`, a row an update: the PRM's reward, the
share of right answers among the same completions, which the policy is not rewarded with (but see --accuracy-weight),
the share that can be read, and the number of steps; and `policy/`. Reward that rises while accuracy does not is a
reward that is being hacked: the last line printed compares both.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmprm.data.problem import Problem, decode_image, read_problems
from mmprm.grading import Verdict, grade
from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.model.step_text import question_text
from mmprm.rewards import tagged
from mmprm.rewards.trl import prm_reward


def dataset(problems: list[Problem], instruction: str, reads_images: bool) -> Any:
    """Return the problems as TRL reads them: a chat, its pictures, and columns for the reward functions."""
    from datasets import Dataset

    rows = []
    for problem in problems:
        asked = [{"role": "user", "content": question_text(problem, instruction)}]
        row: dict[str, Any] = {"prompt": asked, "question": question_text(problem), "problem": problem.problem_id}
        rows.append(row | ({"images": [decode_image(image) for image in problem.images]} if reads_images else {}))
    return Dataset.from_list(rows)


def accuracy_reward(problems: list[Problem]) -> Callable[..., list[float]]:
    """Return the function that gives 1 for a right answer, as the run grades it, else 0."""
    by_id = {problem.problem_id: problem for problem in problems}

    def accuracy(completions: list[Any], problem: list[str], **_: Any) -> list[float]:
        read = [tagged(completion[-1]["content"]) for completion in completions]
        answers = [one[1] if one else None for one in read]
        verdicts = [grade(answer, by_id[name]).verdict for answer, name in zip(answers, problem, strict=True)]
        return [float(verdict == Verdict.CORRECT) for verdict in verdicts]

    return accuracy


def train(given: argparse.Namespace) -> list[dict[str, float]]:
    """Train, and return the curves."""
    prepare()
    from transformers import AutoProcessor, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    policy, prm = given.results / "policy", given.results / "prm" / given.variant
    instruction = folders.check_manifest(prm)["info"]["config"].get("prompt", {}).get("instruction", "")
    reads_images = folders.reads_images(policy)
    problems = read_problems(given.results / "problems" / f"{given.problems}.parquet")
    arguments = GRPOConfig(
        output_dir=str(given.out / "work"),
        max_steps=given.steps,
        per_device_train_batch_size=given.prompts * given.completions,
        num_generations=given.completions,
        max_completion_length=given.tokens,
        temperature=given.temperature,
        learning_rate=given.learning_rate,
        lr_scheduler_type="constant",
        reward_weights=[1.0, given.accuracy_weight],
        beta=0.0,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        seed=0,
        use_cpu=folders.device() == "cpu",
    )
    trainer = GRPOTrainer(
        folders.load_model(policy, "float32"),
        reward_funcs=[prm_reward(given.server or prm, given.form), accuracy_reward(problems)],
        args=arguments,
        train_dataset=dataset(problems, instruction, reads_images),
        processing_class=(AutoProcessor if reads_images else AutoTokenizer).from_pretrained(policy),
    )
    trainer.train()
    trainer.save_model(str(given.out / "policy"))
    names = {f"rewards/prm_{given.form}/mean": "reward", "rewards/accuracy/mean": "accuracy"}
    names |= {"prm/parsed": "parsed", "prm/steps": "steps", "completions/mean_length": "tokens", "entropy": "entropy"}
    rows = [row for row in trainer.state.log_history if "rewards/accuracy/mean" in row]
    return [{"update": row["step"]} | {short: row[name] for name, short in names.items()} for row in rows]


def summary(curves: list[dict[str, float]]) -> str:
    """Compare the first quarter of the updates with the last."""
    part = max(1, len(curves) // 4)
    parts = []
    for name in ("reward", "accuracy", "parsed", "steps"):
        begin, end = (statistics.mean(row[name] for row in rows) for rows in (curves[:part], curves[-part:]))
        parts.append(f"{name} {begin:.3f} -> {end:.3f}")
    return f"first and last {part} of {len(curves)} updates: " + ", ".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python examples/grpo.py", description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="a finished run's folder, results/<run>")
    parser.add_argument("--out", type=Path, default=Path("grpo"), help="the folder to write (%(default)s)")
    parser.add_argument("--variant", default="soft", help="the PRM (%(default)s)")
    parser.add_argument("--server", help="address of `mmprm serve` with this PRM; default: it runs here")
    parser.add_argument("--problems", default="pool", help="the problem table (%(default)s)")
    parser.add_argument("--form", default="min", choices=["min", "last", "mean"], help="the scalar (%(default)s)")
    parser.add_argument("--accuracy-weight", type=float, default=0.0, help="of the right answer (%(default)s: watch)")
    parser.add_argument("--steps", type=int, default=60, help="updates (%(default)s)")
    parser.add_argument("--prompts", type=int, default=8, help="an update (%(default)s)")
    parser.add_argument("--completions", type=int, default=8, help="a prompt (%(default)s)")
    parser.add_argument("--tokens", type=int, default=160, help="the longest completion (%(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-4, help="constant (%(default)s)")
    given = parser.parse_args(arguments)
    curves = train(given)
    (given.out / "curves.json").write_text(json.dumps(curves, indent=1), encoding="utf-8")
    print(summary(curves))


if __name__ == "__main__":
    main()
