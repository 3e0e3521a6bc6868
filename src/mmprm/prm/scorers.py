"""PRMs that score one solution per sequence, in vLLM or transformers. In: a PRM folder, solutions. Out: StepScores.

The texts come from `step_text.Renderer`, as in training. vLLM is silently wrong on some model classes, so
`score_candidates` compares it with transformers.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.config.offline import Settings
from mmprm.engine.decoding import TooLongError
from mmprm.model import folders
from mmprm.model.step_text import MARKER, NO, YES, control_ids
from mmprm.prm.step_scores import Item, StepScores


def scored_tokens(folder: Path, tokenizer: Any) -> tuple[int, list[int]]:
    """Return the marker's id, and the ids whose logits a PRM's scores are read from: see StepScores.of_logits."""
    ids = control_ids(tokenizer)
    return ids[MARKER], [ids[NO], ids[YES], *([ids[MARKER]] if folders.trained_on_counts(folder) else [])]


class VllmScorer:
    """Scores with vLLM's pooling runner: the output layer's rows for No and Yes classify the marker's position.

    For a PRM of counts the marker's row is used too, and logits come back.
    """

    def __init__(self, config: Settings, folder: Path) -> None:
        from mmprm.engine.vllm_engine import VllmModel, set_environment

        set_environment(folders.device())
        from vllm.config import PoolerConfig

        self.prompt_tokens = 0
        self._window = 2 * config.engine.max_running
        marker, _ = scored_tokens(folder, folders.load_processor(folder).tokenizer)
        self._counts = folders.trained_on_counts(folder)
        head: dict[str, Any] = {"method": "from_2_way_softmax", "classifier_from_token": [NO, YES], "num_labels": 1}
        if self._counts:
            head = {"method": "no_post_processing", "classifier_from_token": [NO, YES, MARKER], "num_labels": 3}
        # vLLM reads it from the language model's configuration, where the Qwen-VL families do not have it.
        head["tie_word_embeddings"] = folders.ties_embeddings(folder)
        self._model = VllmModel(
            config,
            folder,
            max_num_seqs=config.engine.max_running,
            runner="pooling",
            convert="classify",
            hf_overrides={"num_labels": head["num_labels"], "text_config": head},
            pooler_config=PoolerConfig(task="token_classify", tok_pooling_type="STEP", step_tag_id=marker),
            # Cached tokens are not computed, so they would have no score; neither would those of an earlier chunk.
            enable_prefix_caching=False,
            enable_chunked_prefill=False,
        )

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`). Keeps the engine's batch full with at most two batches of rendered items."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="token_classify", use_activation=False if self._counts else None)
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
                    scores[int(output.request_id)] = self._step_scores(output.outputs.data)
                    self.prompt_tokens += len(output.prompt_token_ids)
                    running -= 1
        return scores

    def _step_scores(self, pooled: Any) -> StepScores:
        return StepScores.of_logits(pooled) if self._counts else StepScores(pooled.double().flatten().tolist())

    def close(self) -> None:
        """Free the model."""
        self._model.close()


class TransformersScorer:
    """Scores with transformers, one item a forward pass: the plain reference for the other scorers."""

    def __init__(self, folder: Path, instruction: str = "", dtype: str = "auto", max_model_len: int = 2**20) -> None:
        from mmprm.engine.transformers_engine import TransformersModel

        self.prompt_tokens = 0
        self._model = TransformersModel(folder, instruction, dtype, max_model_len)
        self._marker, self._read = scored_tokens(folder, self._model.processor.tokenizer)

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`)."""
        return [self._score(item) for item in items]

    def _score(self, item: Item) -> StepScores:
        import torch

        try:
            inputs = self._model.inputs(self._model.renderer.marked(*item), item[0], room=0)
        except TooLongError:
            return StepScores()
        ids = inputs["input_ids"][0]
        self.prompt_tokens += len(ids)
        markers = (ids == self._marker).nonzero()[:, 0]
        with torch.inference_mode():
            logits = self._model.model(**inputs, logits_to_keep=markers).logits[0]
        return StepScores.of_logits(logits[:, self._read])

    def close(self) -> None:
        """Free the model."""
        del self._model
