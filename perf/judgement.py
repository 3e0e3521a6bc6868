"""How well a mini model tells right statements from wrong ones, on figures of the split dev.

In: model folders (the base model, a policy that was trained from it). Out: one JSON line: for each folder and each kind
of judging lesson the AUC of the Yes logit minus the No logit. What fine-tuning takes away here, a PRM has to relearn.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from mmprm.evaluation.aggregates import auc
from mmprm.mini import train_base
from mmprm.mini.lessons import KINDS, lesson
from mmprm.model import folders
from mmprm.model.step_text import NO, YES, token_id
from mmprm.runtime.errors import UserError
from perf.common import finish, say, user_errors

_KINDS = [kind for kind in KINDS if kind.startswith("judge")]


def judgement(model: Any, processor: Any, kind: str, lessons: int) -> float | None:
    """Return the AUC over all judged statements of some lessons of the kind; every call draws the same lessons."""
    import torch

    rng = random.Random(f"judgement/{kind}")
    yes, no = (token_id(processor.tokenizer, word) for word in (YES, NO))
    batch = train_base.collate([lesson(kind, "dev", rng) for _ in range(lessons)], processor)
    with torch.no_grad():
        logits, tokens, checked = train_base.predictions(model, batch)
    scores = (logits[checked][:, yes] - logits[checked][:, no]).tolist()
    return auc(scores, (tokens[checked] == yes).tolist())


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m perf.judgement", description=__doc__.partition("\n")[0])
    default = [Path("models/mini-base"), Path("results/mini/policy")]
    parser.add_argument("folders", type=Path, nargs="*", default=default, help="model folders (%(default)s)")
    parser.add_argument("--lessons", type=int, default=256, help="of each kind (256)")
    given = parser.parse_args(arguments)
    result: dict[str, Any] = {}
    with user_errors("judgement"):
        for folder in given.folders:
            if not (folder / "config.json").is_file():
                raise UserError(f"{folder} is not a model folder; `make run` makes results/mini/policy")
            say(f"{folder}: {', '.join(_KINDS)}")
            model, processor = folders.load_model(folder, "float32"), folders.load_processor(folder)
            values = {kind: judgement(model, processor, kind, given.lessons) for kind in _KINDS}
            result[str(folder)] = {kind: value and round(value, 3) for kind, value in values.items()}
    finish(result)


if __name__ == "__main__":
    main()
