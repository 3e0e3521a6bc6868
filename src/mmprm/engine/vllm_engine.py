"""The vLLM engine, on the CPU or on CUDA: submits to `LLMEngine`, steps it, returns what finished.

In: Request. Out: Finished. Prefixes are cached (the prompt, and every solution that continues another), an image is
processed once. Draw i of a request has its own generator with seed + i: it does not depend on the requests beside it,
except for rounding, see tests/engine/test_vllm_engine.py.
"""

import gc
import hashlib
import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mmprm.config.offline import Settings
from mmprm.data.problem import Problem, decode_image
from mmprm.engine.base import Completion, EngineStats, Finished, Request
from mmprm.engine.decoding import Decoder, TooLongError
from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.model.step_text import Renderer, control_ids
from mmprm.runtime import loopback
from mmprm.runtime.errors import UserError

_GIB = 2**30
_GROUP_SHARE = 3 / 8  # of the running sequences: draws that are given to vLLM together
_CPU_BLOCK = 32  # tokens per block of the prefix cache; vLLM's 128 on the CPU would not cache short prompts


class VllmModel:
    """One model folder in vLLM: text and images in, vLLM's outputs out. Base of the engine and of the PRM scorer."""

    def __init__(self, config: Settings, folder: Path, tags: bool = True, **options: Any) -> None:
        """Load the model, which takes seconds to minutes. `options` are further vLLM engine arguments.

        `tags`: must its tokenizer have the control tokens?
        """
        gc.disable()  # imports make a million objects that stay: searching them for garbage takes seconds
        try:
            self._open(config, folder, tags, options)
        finally:
            gc.enable()

    def _open(self, config: Settings, folder: Path, tags: bool, options: dict[str, Any]) -> None:
        self.device = folders.device()
        self.processor = folders.load_processor(folder)
        if tags:
            control_ids(self.processor.tokenizer)  # before the model is loaded
        self.renderer = Renderer(self.processor, config.prompt.instruction)
        set_environment(self.device)
        from vllm import EngineArgs
        from vllm.usage.usage_lib import UsageContext
        from vllm.v1.engine.llm_engine import LLMEngine

        gc.freeze()  # vLLM calls the collector several times while it starts
        if self.device == "cpu":
            _register_here(folder)
        arguments = engine_arguments(config, folder, self.device) | options
        self.max_model_len: int = arguments["max_model_len"]
        # Without a context vLLM takes the batches of a server that answers one user: 2,048 tokens.
        self.engine = LLMEngine.from_engine_args(EngineArgs(**arguments), UsageContext.LLM_CLASS)
        self._shown: set[str] = set()  # hashes of the images that vLLM may still remember
        # It warns for every image that the number of threads is unchanged.
        logging.getLogger("vllm.v1.worker.cpu_worker").setLevel(logging.ERROR)

    def render(self, text: str, problem: Problem, room: int) -> Any:
        """Return vLLM's engine input: tokenised text, expanded image placeholders, processed (or cached) images.

        Raises TooLongError unless `room` more tokens fit, ValueError if vLLM refuses it (too many images).
        """
        ids = self.processor.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        if len(ids) + room > self.max_model_len:  # before the images' placeholders are expanded
            raise TooLongError(len(ids), self.max_model_len)
        rendered = self._process(ids, problem.images)
        if len(rendered["prompt_token_ids"]) + room > self.max_model_len:
            # The renderer now assumes that the core knows the image: the next request with it would fail.
            self.forget_images()
            raise TooLongError(len(rendered["prompt_token_ids"]), self.max_model_len)
        return rendered

    def _process(self, ids: list[int], images: tuple[bytes, ...]) -> Any:
        """Make the engine input of tokens and images. An image is processed only if vLLM no longer caches it."""
        prompt: dict[str, Any] = {"prompt_token_ids": ids}
        if images:
            names = [hashlib.sha256(image).hexdigest() for image in images]
            prompt["multi_modal_uuids"] = {"image": names}
            if self._shown.issuperset(names):
                prompt["multi_modal_data"] = {"image": [None] * len(images)}
                try:
                    return self.engine.renderer.render_cmpl([dict(prompt)])[0]
                except ValueError:  # vLLM has dropped one from its cache
                    self._shown.difference_update(names)
            prompt["multi_modal_data"] = {"image": [decode_image(image) for image in images]}
            self._shown.update(names)
        return self.engine.renderer.render_cmpl([prompt])[0]

    def forget_images(self) -> None:
        """Empty vLLM's caches of processed images, on both of its sides."""
        self._shown.clear()
        self.engine.reset_mm_cache()

    def close(self) -> None:
        """Free the model and vLLM's process group, so that another vLLM model can be opened."""
        self.engine.engine_core.shutdown()  # with vLLM's own cleaning up, which a second call would only repeat
        del self.engine


class VllmEngine:
    """engine.base.Engine on vLLM. `tags`: false for a model that writes free text (see decoding)."""

    def __init__(self, config: Settings, policy: Path, tags: bool = True) -> None:
        self.stats = EngineStats()
        self._model = VllmModel(config, policy, tags, max_num_seqs=config.engine.max_running)
        self._decoder = Decoder(policy, self._model.processor.tokenizer, tags)
        self._open: dict[str, tuple[Request, dict[int, Completion]]] = {}
        self._held: list[Request] = []
        self._max_running = config.engine.max_running
        self._begun = 0

    def submit(self, request: Request) -> None:
        """Accept a request. One that vLLM refuses (a prompt too long) returns from a later step with its error."""
        self.stats.requests += 1
        self._held.append(request)

    def step(self) -> list[Finished]:
        """Make one engine step: one token more for each running draw."""
        finished = self._admit()
        if not self._open:
            return finished
        self.stats.steps += 1
        for output in self._model.engine.step():
            name, _, first = output.request_id.partition("/")
            request, completions = self._open[name]
            drawn = {
                int(first) + draw.index: self._decoder.completion(request, draw.token_ids) for draw in output.outputs
            }
            self._count(output, drawn.values())
            completions |= drawn
            if len(completions) == request.n:
                del self._open[name]
                finished.append(Finished(request.key, tuple(completions[draw] for draw in range(request.n))))
        return finished

    def _admit(self) -> list[Finished]:
        """Submit the waiting requests to vLLM, in groups; returns those that it refuses.

        A step in which vLLM's batch changes costs more than one in which it does not, so a request waits here until
        there is a group of them, or vLLM has room for a whole group.
        """
        waiting = sum(request.n for request in self._held)
        group = self._max_running * _GROUP_SHARE
        if waiting < group and self._model.engine.get_num_unfinished_requests() > self._max_running - group:
            return []
        held, self._held = self._held, []
        errors = [(request, self._begin(request)) for request in held]
        return [Finished(request.key, (), error) for request, error in errors if error is not None]

    def _begin(self, request: Request) -> str | None:
        """Add a request to vLLM; returns the reason if it is refused."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        self._begun += 1
        name = str(self._begun)
        # vLLM draws number i with seed + i; with greedy sampling it accepts one draw at a time.
        together = request.n if sampling.temperature > 0 else 1
        try:
            parameters = SamplingParams(
                n=together,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_new_tokens,
                seed=request.seed,
                stop_token_ids=self._decoder.stop_ids(request),
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,  # nothing reads an unfinished text
            )
            text = self._model.renderer.continuation(request.problem, request.prefix)
            rendered = self._model.render(text, request.problem, room=1)
            for first in range(0, request.n, together):
                self._model.engine.add_request(f"{name}/{first}", rendered, parameters)
        except (ValueError, UserError, VLLMClientError) as error:
            return f"{type(error).__name__}: {error}"
        self._open[name] = request, {}
        return None

    def _count(self, output: Any, completions: Collection[Completion]) -> None:
        self.stats.completions += len(completions)
        self.stats.generated_tokens += sum(completion.n_tokens for completion in completions)
        # vLLM reports the cached tokens of the draw that ended last; those of the others are the same.
        self.stats.prompt_tokens += len(output.prompt_token_ids) * len(completions)
        self.stats.cached_prompt_tokens += (output.num_cached_tokens or 0) * len(completions)

    @property
    def pending(self) -> int:
        """Requests accepted and not yet returned."""
        return len(self._open) + len(self._held)

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def set_environment(device: str) -> None:
    """Set what vLLM reads from the environment at its import, unless the user has set it. Call it first."""
    prepare()
    loopback.stay_here(os.environ)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if device == "cpu":
        # In one process: a start of seconds instead of a minute, and OMP_NUM_THREADS means what it says.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def _register_here(folder: Path) -> None:
    """Import vLLM's class of the model in this process.

    Otherwise vLLM inspects it in a subprocess (to keep CUDA untouched), which takes seconds and lacks `prepare`.
    """
    from vllm import ModelRegistry

    for architecture in json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures", []):
        known = ModelRegistry.models.get(architecture)
        if known is not None:
            ModelRegistry.register_model(architecture, known.load_model_cls())


def engine_arguments(config: Settings, folder: Path, device: str) -> dict[str, Any]:
    """Return vLLM's engine arguments for a model folder on a device, whatever it is loaded for."""
    engine = config.engine
    arguments: dict[str, Any] = {
        "model": str(folder),
        "dtype": folders.working_dtype(engine.dtype, device),
        "max_model_len": min(engine.max_model_len, folders.longest_input(folder)),
        "enable_prefix_caching": True,
        "trust_remote_code": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "tensor_parallel_size": engine.tensor_parallel,
        "generation_config": "vllm",  # sampling comes from the request alone
    }
    if folders.reads_images(folder):
        arguments["limit_mm_per_prompt"] = {"image": engine.max_images, "video": 0}
    if device == "cpu":
        arguments |= {
            "distributed_executor_backend": "uni",
            "enforce_eager": True,
            "enable_chunked_prefill": False,  # a seeded request fails with it: "CPU Generator does not use offset"
            "kv_cache_memory_bytes": engine.kv_cache_gib * _GIB,
            "block_size": _CPU_BLOCK,
        }
    else:
        arguments["gpu_memory_utilization"] = engine.gpu_memory_utilization
    return arguments
