"""Model cards: README.md of a policy or PRM folder. In: the configuration and the manifest's info. Out: markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmprm.config import Config
from mmprm.config.training import Training


def policy_card(config: Config, info: Mapping[str, Any]) -> str:
    """Write the card of a policy that was fine-tuned on step-tagged solutions."""
    sources = ", ".join(f"`{name}`" for name in config.policy.sources)
    return "\n".join(
        [
            *_front("mmprm-policy"),
            f"# Policy of the run `{config.run}`",
            "",
            "A vision-language model that solves a problem in steps: `<step>…</step>` repeated, then "
            "`<answer>…</answer>`. It samples the rollouts that the process reward model learns from (MM-PRM, "
            "arXiv 2505.13427).",
            "",
            f"- base: `{config.policy.base.name}` (fingerprint `{info['base']}`)",
            f"- data: {info['examples']} solutions of {sources}; refused or cut: {_counts(info['refused'])}",
            f"- loss on the solution alone; {info['steps']} updates, final loss {info['final_loss']:.4f}",
            "",
            "## Training",
            "",
            *_table(config.policy.training, config.seed),
            "",
            "## Use",
            "",
            "Load it with `AutoModelForImageTextToText` and `AutoProcessor`. Give the chat template one user turn, the "
            "images before the text, and stop at `</answer>`. To continue a partial solution, append its steps "
            "after the generation prompt, in the assistant's own turn.",
            "",
            "## Limits",
            "",
            "It knows the kinds of problems that it was trained on, and answers others with the same confidence. "
            "Some of its samples do not parse. The licence is that of the base model and of the data.",
            "",
        ]
    )


def prm_card(config: Config, info: Mapping[str, Any]) -> str:
    """Write the card of a process reward model."""
    recipe = info["config"]["prm"]
    training = Training(**info["config"]["training"])
    return "\n".join(
        [
            *_front("mmprm-prm"),
            f"# Process reward model `{info['variant']}` of the run `{config.run}`",
            "",
            "It reads a problem, its images and a solution in steps, and gives after each step the probability that a "
            "solution continued from there ends right (MM-PRM, arXiv 2505.13427).",
            "",
            f"- from the run's policy (fingerprint `{info['base']}`); `<prm>` starts as {recipe['marker_init']!r}",
            f"- data: {info['examples']} step paths of {info['problems']} problems, {info['markers']} labelled markers "
            f"(mean label {info['mean_label']:.3f}); refused or cut: {_counts(info['refused'])}",
            f"- labels: {recipe['label']}, from Monte Carlo rollouts of the policy"
            f"{_selected(config, recipe['label_set'])}{_extra(config)}",
            f"- {info['steps']} updates, final loss {info['final_loss']:.4f}",
            f"- held-out loss, calibration and AUC: `prm/{info['variant']}.heldout.json` of the run",
            "",
            "## Training",
            "",
            *_table(training, config.seed),
            "",
            "## Use",
            "",
            "Write the chat up to the generation prompt, then the solution with `<prm>` after each `</step>` and after "
            "`</answer>`, with nothing between them. At each `<prm>`, softmax over the logits of `No` and `Yes` gives "
            "P(yes). In vLLM: the pooling runner with `token_classify` and the step tag `<prm>`.",
            *_concentration(recipe["label"]),
            "",
            "## Limits",
            "",
            "Its labels say how often *this* policy ends right from a step, so a wrong step that the policy repairs "
            "has a high one, and a right step before a hard one a low one. Compare scores within a problem; between "
            "problems they measure difficulty. The licence is that of the base model and of the data.",
            "",
        ]
    )


def _concentration(label: str) -> list[str]:
    """Explain how to read the concentration of a PRM of counts, as `step_scores` does."""
    if label != "counts":
        return []
    return [
        "",
        "With the logit of `<prm>` itself, softplus(logsumexp(No, Yes) - `<prm>`) + 0.001 is the concentration κ: the "
        "share of right continuations is believed to be distributed as Beta(P(yes) κ, (1 - P(yes)) κ).",
    ]


def _selected(config: Config, label_set: str | None) -> str:
    """Name the model that agrees with the run's own labels; for another label set, what differs from the run's."""
    if label_set is not None:
        changed = "; ".join(f"{key}: {value}" for key, value in config.labels.changed(label_set).items())
        return f" (label set `{label_set}`: {changed})"
    judge = config.labels.consensus
    return f", of paths whose first error `{judge.shown}` finds in the same place" if judge else ""


def _extra(config: Config) -> str:
    """Name the step data that were added to the run's own."""
    extra = [f"`{name}` ({config.step_data[name].about})" for name in config.labels.extra]
    return f"; and those that came with {', '.join(extra)}" if extra else ""


def _front(tag: str) -> list[str]:
    return ["---", "library_name: transformers", "pipeline_tag: image-text-to-text", f"tags: [{tag}, mmprm]", "---", ""]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in counts.items()) or "none"


def _table(training: Training, seed: int) -> list[str]:
    rows = training.model_dump(mode="json") | {"seed": seed, "optimizer": "AdamW", "schedule": "cosine with warm-up"}
    return ["| option | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
