"""The transformers engine, on any torch device: slower than vLLM, for models that vLLM lacks and to check it against.

In: Request. Out: Finished. One request is one batch: its prompt is read once, its draws continue together, each with
its own generator (draw i from seed + i). So a draw depends on its request alone, bit for bit.
"""

from collections import deque
from pathlib import Path
from typing import Any

from mmprm.config import Sampling
from mmprm.config.offline import Settings
from mmprm.data.problem import Problem, decode_image
from mmprm.engine.base import Completion, EngineStats, Finished, Request
from mmprm.engine.decoding import Decoder, TooLongError
from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.model.step_text import Renderer, control_ids
from mmprm.model.tokens import has_known_positions, rope_index, rope_positions
from mmprm.runtime.errors import UserError

_ROWS = 64  # draws in one batch; not an option, since the size of a batch changes the rounding of its logits


class TransformersModel:
    """A model folder in transformers, and its inputs. Base of the engine and of the PRM scorer."""

    def __init__(self, folder: Path, instruction: str, dtype: str, max_model_len: int, tags: bool = True) -> None:
        """Load the model. `tags`: must its tokenizer have the control tokens?"""
        prepare()
        self.device = folders.device()
        self.processor = folders.load_processor(folder)
        if tags:
            control_ids(self.processor.tokenizer)  # before the model is loaded
        self.renderer = Renderer(self.processor, instruction)
        self.model = folders.load_model(folder, folders.working_dtype(dtype, self.device), self.device)
        self.max_model_len = min(max_model_len, folders.longest_input(folder))

    def inputs(self, text: str, problem: Problem, room: int) -> Any:
        """Return the processor's tensors of one text [1, length]. TooLongError unless `room` more tokens fit."""
        images = [[decode_image(image) for image in problem.images]] if problem.images else None
        inputs = self.processor(
            text=[text], images=images, return_tensors="pt", text_kwargs={"add_special_tokens": False}
        )
        length = inputs["input_ids"].shape[1]
        if length + room > self.max_model_len:
            raise TooLongError(length, self.max_model_len)
        return inputs.to(self.device, dtype=self.model.dtype)  # casts floating-point tensors only


class TransformersEngine:
    """engine.base.Engine on transformers. A step finishes one request. `tags`: see decoding."""

    def __init__(self, config: Settings, policy: Path, tags: bool = True) -> None:
        self.stats = EngineStats()
        self._model = TransformersModel(
            policy, config.prompt.instruction, config.engine.dtype, config.engine.max_model_len, tags
        )
        if not has_known_positions(self._model.model):
            raise UserError(
                f"{policy}: {type(self._model.model).__name__} is not supported: unknown position scheme; set "
                "engine.kind to vllm"
            )
        self._index = rope_index(self._model.model)
        self._decoder = Decoder(policy, self._model.processor.tokenizer, tags)
        self._max_images = config.engine.max_images
        self._waiting: deque[Request] = deque()

    def submit(self, request: Request) -> None:
        """Accept a request."""
        self.stats.requests += 1
        self._waiting.append(request)

    def step(self) -> list[Finished]:
        """Sample all draws of the oldest request."""
        if not self._waiting:
            return []
        request = self._waiting.popleft()
        if len(request.problem.images) > self._max_images:
            error = f"{len(request.problem.images)} images, engine.max_images is {self._max_images}"
            return [Finished(request.key, (), error)]
        try:
            completions: list[Completion] = []
            for first in range(0, request.n, _ROWS):
                completions += self._draw(request, range(first, min(first + _ROWS, request.n)))
        except (ValueError, UserError) as error:
            return [Finished(request.key, (), f"{type(error).__name__}: {error}")]
        return [Finished(request.key, tuple(completions))]

    def _draw(self, request: Request, draws: range) -> list[Completion]:
        import torch

        model = self._model
        text = model.renderer.continuation(request.problem, request.prefix)
        inputs = model.inputs(text, request.problem, room=1)
        length = inputs["input_ids"].shape[1]
        if self._index is not None:
            inputs["position_ids"] = rope_positions(self._index, inputs, inputs.get("image_grid_thw"))
        limit = min(request.sampling.max_new_tokens, model.max_model_len - length)
        generators = [torch.Generator(model.device).manual_seed(request.seed + draw) for draw in draws]
        stops = torch.tensor(self._decoder.stop_ids(request), device=model.device)
        open_rows = torch.ones(len(draws), dtype=torch.bool, device=model.device)
        drawn = torch.empty(len(draws), 0, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            output = model.model(**inputs, use_cache=True, logits_to_keep=1)
            cache = output.past_key_values
            cache.batch_repeat_interleave(len(draws))
            logits = output.logits[:, -1].expand(len(draws), -1)
            while True:
                token = sample(logits, request.sampling, generators)
                drawn = torch.cat([drawn, token[:, None]], dim=1)
                open_rows &= ~torch.isin(token, stops)
                if drawn.shape[1] == limit or not open_rows.any():
                    break  # rows that have stopped continue meanwhile, and are cut below
                positions = {}
                if self._index is not None:
                    positions["position_ids"] = (inputs["position_ids"].max() + drawn.shape[1]).expand(3, len(draws), 1)
                output = model.model(
                    input_ids=token[:, None],
                    attention_mask=torch.ones(
                        len(draws), length + drawn.shape[1], dtype=torch.long, device=model.device
                    ),
                    past_key_values=cache,
                    use_cache=True,
                    **positions,
                )
                logits = output.logits[:, -1]
        ends = set(stops.tolist())
        completions = [self._decoder.completion(request, _until(row, ends)) for row in drawn.tolist()]
        self.stats.completions += len(draws)
        self.stats.generated_tokens += sum(completion.n_tokens for completion in completions)
        self.stats.prompt_tokens += length * len(draws)
        self.stats.cached_prompt_tokens += length * (len(draws) - 1)
        return completions

    @property
    def pending(self) -> int:
        """Requests accepted and not yet returned."""
        return len(self._waiting)

    def close(self) -> None:
        """Free the model."""
        del self._model


def _until(ids: list[int], stops: set[int]) -> list[int]:
    end = next((index for index, token in enumerate(ids) if token in stops), len(ids) - 1)
    return ids[: end + 1]


def sample(logits: Any, sampling: Sampling, generators: list[Any]) -> Any:
    """Draw one token for each row of `logits` [rows, vocabulary], row i with generators[i]; returns [rows].

    Top-k is applied before top-p. argmax(p / e), with e exponential, is a draw from p that uses a generator per row.
    """
    import torch

    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    ordered, order = (logits.float() / sampling.temperature).sort(dim=-1, descending=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = -torch.inf
    probabilities = ordered.softmax(dim=-1)
    if sampling.top_p < 1:
        before = probabilities.cumsum(dim=-1) - probabilities  # the first token is always kept
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0)
    noise = torch.empty_like(probabilities)
    for row, generator in enumerate(generators):
        noise[row].exponential_(generator=generator)
    return order.gather(1, (probabilities / noise).argmax(dim=-1, keepdim=True))[:, 0]
