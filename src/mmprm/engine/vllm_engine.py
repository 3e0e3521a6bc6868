"""The vLLM engine, on the CPU or on CUDA: submits to `LLMEngine`, steps it, returns what finished.

In: Request. Out: Finished. Prefixes are cached (the prompt, and every solution that continues another), an image is
processed once. Draw i of a request is sampled with seed + i from a generator of its own: it does not depend on the
requests beside it but for rounding, see tests/engine/test_vllm_engine.py.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from mmprm import models
from mmprm.compat import prepare
from mmprm.config import Config
from mmprm.engine.base import Completion, EngineStats, Finished, Request
from mmprm.engine.decoding import Decoder, TooLongError
from mmprm.errors import UserError
from mmprm.problem import Problem
from mmprm.solution import Renderer, control_ids

_GIB = 2**30
_CPU_BLOCK = 32  # tokens a block of the prefix cache; vLLM's 128 on the CPU would cache nothing of a short prompt


class VllmModel:
    """One model folder in vLLM: text and images in, vLLM's outputs out. Base of the engine and of the PRM scorer."""

    def __init__(self, config: Config, folder: Path, **options: Any) -> None:
        """`options` are further vLLM engine arguments. Loads the model, which takes seconds to minutes."""
        gc.disable()  # imports make a million objects that stay: looking for garbage among them costs seconds
        try:
            self._open(config, folder, options)
        finally:
            gc.enable()

    def _open(self, config: Config, folder: Path, options: dict[str, Any]) -> None:
        self.device = models.device()
        self.processor = models.load_processor(folder)
        control_ids(self.processor.tokenizer)  # before the model is loaded
        self.renderer = Renderer(self.processor, config.prompt.instruction)
        set_environment(self.device)
        from vllm import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        gc.freeze()  # vLLM calls the collector several times while it starts
        if self.device == "cpu":
            _register_here(folder)
        arguments = _engine_arguments(config, folder, self.device) | options
        self.max_model_len: int = arguments["max_model_len"]
        self.engine = LLMEngine.from_engine_args(EngineArgs(**arguments))
        # It warns for every image that the number of threads stays as it is.
        logging.getLogger("vllm.v1.worker.cpu_worker").setLevel(logging.ERROR)

    def render(self, text: str, problem: Problem, room: int) -> Any:
        """vLLM's engine input: tokenised text, expanded image placeholders, processed (or remembered) images.

        Raises TooLongError unless `room` more tokens fit, ValueError for what vLLM refuses (too many images).
        """
        ids = self.processor.tokenizer.encode(text, add_special_tokens=False, verbose=False)
        if len(ids) + room > self.max_model_len:  # before the images' placeholders are expanded
            raise TooLongError(len(ids), self.max_model_len)
        prompt: dict[str, Any] = {"prompt_token_ids": ids}
        if problem.images:
            prompt["multi_modal_data"] = {"image": [models.decode_image(image) for image in problem.images]}
            prompt["multi_modal_uuids"] = {"image": [hashlib.sha256(image).hexdigest() for image in problem.images]}
        (rendered,) = self.engine.renderer.render_cmpl([prompt])
        if len(rendered["prompt_token_ids"]) + room > self.max_model_len:
            # The renderer has noted the image as one that the core knows: the next request with it would fail.
            self.engine.reset_mm_cache()
            raise TooLongError(len(rendered["prompt_token_ids"]), self.max_model_len)
        return rendered

    def close(self) -> None:
        """Free the model and vLLM's process group, so that another vLLM model can be opened."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self.engine.engine_core.shutdown()
        del self.engine
        cleanup_dist_env_and_memory()


class VllmEngine:
    """engine.base.Engine on vLLM."""

    def __init__(self, config: Config, policy: Path) -> None:
        self.stats = EngineStats()
        self._model = VllmModel(config, policy, max_num_seqs=config.engine.max_running)
        self._decoder = Decoder(policy, self._model.processor.tokenizer)
        self._open: dict[str, tuple[Request, dict[int, Completion]]] = {}
        self._failed: list[Finished] = []
        self._submitted = 0

    def submit(self, request: Request) -> None:
        """Take a request. What vLLM refuses (a prompt too long) returns from the next step with its error."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind

        self.stats.requests += 1
        self._submitted += 1
        name = str(self._submitted)
        sampling = request.sampling
        draws = [
            SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=sampling.max_new_tokens,
                seed=request.seed + draw,
                stop_token_ids=self._decoder.stop_ids,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,  # nothing reads an unfinished text
            )
            for draw in range(request.n)
        ]
        try:
            text = self._model.renderer.continuation(request.problem, request.prefix)
            rendered = self._model.render(text, request.problem, room=1)
            for draw, parameters in enumerate(draws):
                self._model.engine.add_request(f"{name}/{draw}", rendered, parameters)
        except (ValueError, UserError, VLLMClientError) as error:
            self._failed.append(Finished(request.key, (), f"{type(error).__name__}: {error}"))
            return
        self._open[name] = (request, {})

    def step(self) -> list[Finished]:
        """One engine step: one token more for each running draw."""
        finished, self._failed = self._failed, []
        if not self._open:
            return finished
        self.stats.steps += 1
        for output in self._model.engine.step():
            name, _, draw = output.request_id.partition("/")
            request, drawn = self._open[name]
            drawn[int(draw)] = self._completion(output)
            if len(drawn) == request.n:
                del self._open[name]
                finished.append(Finished(request.key, tuple(drawn[index] for index in range(request.n))))
        return finished

    def _completion(self, output: Any) -> Completion:
        completion = self._decoder.completion(output.outputs[0].token_ids)
        self.stats.completions += 1
        self.stats.generated_tokens += completion.n_tokens
        self.stats.prompt_tokens += len(output.prompt_token_ids)
        self.stats.cached_prompt_tokens += output.num_cached_tokens or 0
        return completion

    @property
    def pending(self) -> int:
        """Requests taken and not yet returned."""
        return len(self._open) + len(self._failed)

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def set_environment(device: str) -> None:
    """What vLLM reads from the environment while it is imported; what the user has set stays. Call it first."""
    prepare()
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if device == "cpu":
        # In one process: a start of seconds instead of a minute, and OMP_NUM_THREADS means what it says.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")


def _register_here(folder: Path) -> None:
    """Import vLLM's class of the model in this process.

    Else vLLM inspects it in a subprocess (so as not to touch CUDA), which takes seconds and lacks `compat.prepare`.
    """
    from vllm import ModelRegistry

    for architecture in json.loads((folder / "config.json").read_text()).get("architectures", []):
        known = ModelRegistry.models.get(architecture)
        if known is not None:
            ModelRegistry.register_model(architecture, known.load_model_cls())


def _engine_arguments(config: Config, folder: Path, device: str) -> dict[str, Any]:
    engine = config.engine
    arguments: dict[str, Any] = {
        "model": str(folder),
        "dtype": models.working_dtype(engine.dtype, device),
        "max_model_len": min(engine.max_model_len, models.longest_input(folder)),
        "limit_mm_per_prompt": {"image": engine.max_images, "video": 0},
        "enable_prefix_caching": True,
        "trust_remote_code": False,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "tensor_parallel_size": engine.tensor_parallel,
        "generation_config": "vllm",  # sampling comes from the request alone
    }
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
