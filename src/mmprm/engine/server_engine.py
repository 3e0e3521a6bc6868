"""The server engine: the policy on a vLLM server elsewhere, which many shards share. In: Request. Out: Finished.

A draw is one request to `<engine.url>/chat/completions`, and draw i has seed + i, as in vllm_engine. Its prompt tokens
are the local ones too: images arrive as `decode_image` sees them, a prefix is the assistant's own unfinished
message, and the first replies are compared with the policy folder's processor. Whether the server has the policy's
weights cannot be checked, unless it shares our disk.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmprm.config import Config
from mmprm.data.problem import Problem, decode_image
from mmprm.engine.base import Completion, Finished, Request
from mmprm.engine.decoding import Decoder, TooLongError
from mmprm.engine.over_http import HttpEngine, data_uri
from mmprm.model import folders
from mmprm.model.step_text import Renderer, control_ids, question_text, render_steps
from mmprm.runtime.errors import UserError
from mmprm.runtime.http_client import Client, RequestRefusedError, Server

KEYS = ("MMPRM_API_KEY", "OPENAI_API_KEY")  # environment variables; the first that is set counts
_SERVER = Server("engine.url", KEYS, "start it with `vllm serve` and the policy folder")
_OPENING_TRIES = 3
# Otherwise the server takes them from the model's generation_config.json; vllm_engine uses these, too.
_NEUTRAL = {"min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}


class ServerEngine(HttpEngine):
    """engine.base.Engine on a vLLM server that serves the policy."""

    def __init__(self, config: Config, policy: Path) -> None:
        """Raise UserError if the server is unreachable, serves another model, or accepts only shorter texts."""
        assert config.engine.url is not None  # config.EngineSettings has checked it
        self._processor = folders.load_processor(policy)
        control_ids(self._processor.tokenizer)  # before the server is asked
        self._decoder = Decoder(policy, self._processor.tokenizer)
        self._chat = Chat(self._processor, config.prompt.instruction, config.engine.open_problems)
        self._limit = min(config.engine.max_model_len, folders.longest_input(policy))
        self._vocabulary = len(self._processor.tokenizer)
        self._max_images = config.engine.max_images
        self._url = config.engine.url.rstrip("/")
        self._compared: set[tuple[bool, bool]] = set()  # (images, prefix) of the prompts that were compared
        super().__init__(Client(self._url, config.engine.max_running, _SERVER))
        try:
            self._model = self._served(config.engine.served_model, policy)
        except BaseException:
            self.close()
            raise

    def _served(self, name: str | None, policy: Path) -> str:
        """Return the served model's name, after the checks of the model that are possible from here."""
        try:
            listed = self._http.run(self._http.ask("GET", "/models", tries=lambda: _OPENING_TRIES))
            cards = {card["id"]: card for card in listed["data"]}
        except RequestRefusedError as error:
            fix = f"set {KEYS[0]}" if error.status in (401, 403) else "the address of a vLLM server ends in /v1"
            raise UserError(f"engine.url {self._url}: {error}; {fix}") from None
        except (KeyError, TypeError):
            raise UserError(f"engine.url {self._url}: /models lists no models; is it a vLLM server?") from None
        name = next(iter(cards)) if name is None and len(cards) == 1 else name
        if name not in cards:
            raise UserError(f"engine.served_model is {name!r}, {self._url} serves {sorted(cards)}: name one of them")
        length = cards[name].get("max_model_len") or self._limit
        if length < self._limit:
            raise UserError(
                f"engine.url {self._url}: {name} takes {length} tokens, fewer than engine.max_model_len (or the "
                f"model's own) {self._limit}: start the server with --max-model-len {self._limit}, or lower the option"
            )
        root = Path(cards[name].get("root") or "")  # if the server shares our disk, this is what it has loaded
        if (root / folders.MANIFEST).is_file() and folders.fingerprint(root) != folders.fingerprint(policy):
            raise UserError(
                f"engine.url {self._url}: it serves {root}, not {policy}: start it with `vllm serve {policy}`"
            )
        return str(name)

    def _body(self, request: Request) -> dict[str, Any]:
        """Return what the draws of a request share. TooLongError, ValueError for too many images, UserError."""
        problem, sampling = request.problem, request.sampling
        text = self._chat.continuation(problem, request.prefix)
        length = len(self._processor.tokenizer.encode(text, add_special_tokens=False, verbose=False))
        if length + 1 > self._limit:  # before the images' placeholders are expanded
            raise TooLongError(length, self._limit)
        if len(problem.images) > self._max_images:
            raise ValueError(f"{len(problem.images)} images, engine.max_images is {self._max_images}")
        return {
            "model": self._model,
            "messages": self._chat.messages(problem, request.prefix),
            "add_generation_prompt": not request.prefix,
            "continue_final_message": bool(request.prefix),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "max_completion_tokens": min(sampling.max_new_tokens, self._limit - length),
            "stop_token_ids": self._decoder.stop_ids(request),
            "skip_special_tokens": False,
            "return_token_ids": True,
            **_NEUTRAL,
        }

    def _finished(self, request: Request, replies: list[Any]) -> Finished:
        completions: list[Completion] = []
        for reply in replies:
            prompt, drawn = self._tokens(reply)
            if not self._known(prompt) or not self._known(drawn):
                return Finished(request.key, (), "the server's reply has token ids that the policy does not have")
            self._compare(request, prompt)
            room = self._limit - len(prompt)  # the server may allow more; vllm_engine would stop here
            if room < 1:
                error = TooLongError(len(prompt), self._limit)
                return Finished(request.key, (), f"{type(error).__name__}: {error}")
            completions.append(self._decoder.completion(request, drawn[:room]))
            self.stats.completions += 1
            self.stats.generated_tokens += completions[-1].n_tokens
            self.stats.prompt_tokens += len(prompt)
            self.stats.cached_prompt_tokens += _cached(reply)
        return Finished(request.key, tuple(completions))

    def _tokens(self, reply: Any) -> tuple[list[int], list[int]]:
        """Return (prompt, drawn) token ids of a reply."""
        try:
            return list(reply["prompt_token_ids"]), list(reply["choices"][0]["token_ids"])
        except (KeyError, IndexError, TypeError):
            raise UserError(f"engine.url {self._url}: no token ids in its replies; is it a vLLM server?") from None

    def _known(self, ids: list[Any]) -> bool:
        return all(type(token) is int and 0 <= token < self._vocabulary for token in ids)

    def _compare(self, request: Request, prompt: Sequence[int]) -> None:
        """Raise UserError unless the prompt is the local processor's; only the first of each shape is compared."""
        problem = request.problem
        shape = (bool(problem.images), bool(request.prefix))
        if shape in self._compared:
            return
        images = [decode_image(image) for image in problem.images] or None
        text = self._chat.continuation(problem, request.prefix)
        local = self._processor(text=[text], images=images, text_kwargs={"add_special_tokens": False})["input_ids"][0]
        if list(local) != list(prompt):
            pairs = enumerate(zip(local, prompt, strict=False))
            first = next((index for index, (a, b) in pairs if a != b), min(len(local), len(prompt)))
            raise UserError(
                f"engine.url {self._url}: its prompt of {len(prompt)} tokens is not the policy's ({len(local)}), they "
                f"differ from token {first} on: serve the policy folder with its own chat template and processor"
            )
        self._compared.add(shape)


def _cached(reply: Any) -> int:
    """Return how many prompt tokens the server says it had cached; 0 where it says nothing that makes sense."""
    try:
        return min(
            max(0, int(reply["usage"]["prompt_tokens_details"]["cached_tokens"])), len(reply["prompt_token_ids"])
        )
    except (KeyError, OverflowError, TypeError, ValueError):
        return 0


class Chat(Renderer):
    """Writes the chats that the server's chat template turns into `Renderer.continuation`."""

    def __init__(self, processor: Any, instruction: str, remembered: int) -> None:
        super().__init__(processor, instruction)
        self._data_uri: Callable[[bytes], str] = lru_cache(maxsize=remembered)(data_uri)

    def messages(self, problem: Problem, prefix: Sequence[str]) -> list[dict[str, Any]]:
        """Return the user's turn, and the assistant's unfinished one if there is a prefix."""
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": self._data_uri(image)}} for image in problem.images
        ]
        content.append({"type": "text", "text": question_text(problem, self.instruction, self.control)})
        started = [{"role": "assistant", "content": render_steps(prefix)}] if prefix else []
        return [{"role": "user", "content": content}, *started]
