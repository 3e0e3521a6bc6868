"""A PRM that scores solutions in vLLM. In: a PRM folder, solutions. Out: StepScores.

vLLM is silently wrong on some model classes, so `score_candidates` compares it with transformers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.config.offline import Settings
from mmprm.engine.decoding import TooLongError
from mmprm.model import folders
from mmprm.prm import vllm_head
from mmprm.prm.step_scores import Input, Item, StepScores, scored_tokens


def scoring_options(config: Settings, folder: Path) -> dict[str, Any]:
    """Return the engine arguments that make vLLM score with a PRM, of which `pooler_config` is a dictionary."""
    tokenizer = folders.load_processor(folder).tokenizer
    tokens = scored_tokens(folder, tokenizer)
    return {
        "max_num_seqs": config.engine.max_running,
        "runner": "pooling",
        "convert": "classify",
        "hf_overrides": vllm_head.hf_overrides(folder, tokens, tokenizer),
        "pooler_config": vllm_head.pooler(tokens),
        # Cached tokens are not computed, so they would have no score; neither would those of an earlier chunk.
        "enable_prefix_caching": False,
        "enable_chunked_prefill": False,
    }


def scoring_arguments(config: Settings, folder: Path, device: str) -> dict[str, Any]:
    """Return all engine arguments of a PRM on a device."""
    from mmprm.engine.vllm_engine import engine_arguments

    return engine_arguments(config, folder, device) | scoring_options(config, folder)


class VllmScorer:
    """Scores with vLLM's pooling runner: the output layer's rows for No and Yes classify the marker's position.

    For a PRM of counts the marker's row is used too. vLLM keeps these rows, and computes their logits, in float32.
    """

    def __init__(self, config: Settings, folder: Path) -> None:
        from mmprm.engine.vllm_engine import VllmModel, set_environment

        set_environment(folders.device())
        from vllm.config import PoolerConfig

        self.prompt_tokens = 0
        self._window = 2 * config.engine.max_running
        options = scoring_options(config, folder)
        options["pooler_config"] = PoolerConfig(**options["pooler_config"])
        self._model = VllmModel(config, folder, **options)

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`). Keeps the engine's batch full with at most two batches of rendered items."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="token_classify", use_activation=False)
        scores = [StepScores() for _ in items]
        waiting = deque(enumerate(items))
        running = 0
        while running or waiting:
            while waiting and running < self._window:
                index, item = waiting.popleft()
                try:
                    rendered = self._model.render(self._model.renderer.marked(*item), item[0], room=0)
                except TooLongError:
                    continue
                self._model.engine.add_request(str(index), rendered, parameters)
                running += 1
            for output in self._model.engine.step():
                if output.finished:
                    read = Input.of(output.prompt_token_ids)
                    scores[int(output.request_id)] = StepScores.of_logits(output.outputs.data, read)
                    self.prompt_tokens += len(output.prompt_token_ids)
                    running -= 1
        return scores

    def close(self) -> None:
        """Free the model."""
        self._model.close()
