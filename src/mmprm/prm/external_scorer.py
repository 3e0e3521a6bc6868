"""A published PRM that scores solutions in transformers. In: its folder and how it is asked. Out: StepScores.

One solution a forward pass, read at the last token of the separator after each step: two classes by a head of their
own, the logits of two tokens, or a value. Code in the folder is run only where the configuration asks for it by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmprm.config.external import External
from mmprm.config.models import EngineSettings
from mmprm.data.problem import Problem, decode_image
from mmprm.model import folders
from mmprm.model.hf_env import prepare
from mmprm.model.step_text import question_text
from mmprm.prm.step_scores import Input, Item, StepScores
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log


class ExternalScorer:
    """Scores as the published PRM does (see `Scorer`): the probability of the class or token that says right."""

    def __init__(self, external: External, engine: EngineSettings) -> None:
        """Load it. UserError if it is not of its kind: no head or other weights missing, or a token that is several."""
        if external.kind == "scores_file":
            raise UserError(f"{external.path}: a table of scores: it can score no other solutions")
        if external.kind == "critic":
            raise UserError("a critic is asked for whole solutions: it gives no values of trees and guides no search")
        prepare()
        self.prompt_tokens = 0
        self._unseen: set[str] = set()  # problems whose pictures it does not read
        self._external = external
        self._device = folders.device()
        dtype = folders.working_dtype(engine.dtype, self._device)
        pictures = folders.reads_images(external.folder)
        self._processor: Any = folders.load_processor(external.folder) if pictures else None
        self._tokenizer = _tokenizer(external) if self._processor is None else self._processor.tokenizer
        self._model, self._read = _opened(external, dtype, self._device, self._tokenizer)
        self._longest = min(engine.max_model_len, folders.longest_input(external.folder))

    def score(self, items: Sequence[Item]) -> list[StepScores]:
        """Score the items (see `Scorer`)."""
        return [self._score(item) for item in items]

    def close(self) -> None:
        """Free the model; warn of pictures that it has not seen."""
        if self._unseen:
            log.warning(
                f"{self._external.path} reads no pictures: of {len(self._unseen)} problems with some it has judged the "
                "text alone"
            )
        del self._model, self._read

    def written(self, item: Item) -> tuple[str, list[int]]:
        """Return the text that is read, and where in it each separator ends."""
        problem, steps, answer = item
        text, ends = self._prompt(problem), []
        parts = [self._external.step.replace("{number}", str(n)).replace("{step}", s) for n, s in enumerate(steps, 1)]
        parts += [] if answer is None else [self._external.answer.replace("{answer}", answer)]
        for part in parts:
            text += part + self._external.separator
            ends.append(len(text))
            text += self._external.after
        return text[: ends[-1]] if ends else text, ends

    def _prompt(self, problem: Problem) -> str:
        question = question_text(problem, "", [self._external.separator.strip() or "\0"])
        told = self._external.system
        system: list[Any] = [{"role": "system", "content": told}] if told else []
        if self._processor is not None:
            content = [*({"type": "image"} for _ in problem.images), {"type": "text", "text": question}]
            system = [{"role": "system", "content": [{"type": "text", "text": told}]}] if told else []
            chat: list[Any] = [*system, {"role": "user", "content": content}]
            return str(self._processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        if self._tokenizer.chat_template:
            chat = [*system, {"role": "user", "content": question}]
            return str(self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        return f"{question}\n"

    def _score(self, item: Item) -> StepScores:
        import torch

        text, ends = self.written(item)
        bare = not self._tokenizer.chat_template and self._processor is None  # a template writes these tokens itself
        encoded = self._tokenizer(text, add_special_tokens=bare, return_offsets_mapping=True, verbose=False)
        ids, places = encoded["input_ids"], _places(encoded["offset_mapping"], ends)
        if None in places:
            raise UserError(
                f"{self._external.path}: the separator {self._external.separator!r} ends within a token after step "
                f"{places.index(None) + 1} of a solution of problem {item[0].problem_id!r}: name another one"
            )
        inputs: dict[str, Any] = {"input_ids": torch.tensor([ids])}
        if item[0].images and self._processor is None:
            self._unseen.add(item[0].problem_id)
        elif item[0].images:
            inputs, places = self._with_pictures(text, item[0], ids, places)
        length = inputs["input_ids"].shape[1]
        if length > self._longest:
            return StepScores()
        self.prompt_tokens += length
        moved = {name: value.to(self._device) for name, value in inputs.items()}
        moved = {k: v.to(self._model.dtype) if v.is_floating_point() else v for k, v in moved.items()}
        with torch.inference_mode():
            found = self._read(moved, torch.tensor(places, device=self._device)).double().cpu()
        right = found.sigmoid()[:, 0] if found.shape[1] == 1 else found.softmax(-1)[:, 1]
        return StepScores(right.tolist(), None, Input.of(inputs["input_ids"][0]))

    def _with_pictures(self, text: str, problem: Problem, ids: list[int], places: list[Any]) -> tuple[Any, list[int]]:
        """Return the processor's tensors; what follows the images is as long as it was without them."""
        images = [[decode_image(image) for image in problem.images]]
        plain = {"add_special_tokens": False}
        inputs = dict(self._processor(text=[text], images=images, return_tensors="pt", text_kwargs=plain))
        added = inputs["input_ids"].shape[1] - len(ids)
        first = min(places)
        if inputs["input_ids"][0, first + added :].tolist() != ids[first:]:
            raise UserError(f"{self._external.path}: its processor changes the text after the images")
        return inputs, [place + added for place in places]


def _places(offsets: Sequence[tuple[int, int]], ends: Sequence[int]) -> list[Any]:
    """Return the last token that ends at each place of the text; None where none does."""
    last = {end: token for token, (begin, end) in enumerate(offsets) if end > begin}
    return [last.get(end) for end in ends]


def _tokenizer(external: External) -> Any:
    from transformers import AutoTokenizer

    options = {"local_files_only": True, "trust_remote_code": external.remote_code}
    tokenizer = AutoTokenizer.from_pretrained(str(external.folder), **options)
    if not tokenizer.is_fast:
        raise UserError(
            f"{external.path}: its tokenizer does not say where in a text its tokens are (no tokenizer.json)"
        )
    return tokenizer


def _opened(external: External, dtype: str, device: str, tokenizer: Any) -> tuple[Any, Callable[..., Any]]:
    """Return the model, and the function that gives its logits at places: (places, 2), or (places, 1) of a value."""
    if external.kind == "token_logits":
        ids = [_one_token(external, tokenizer, str(text)) for text in (external.negative, external.positive)]
        if external.remote_code:
            from transformers import AutoModelForCausalLM as Family

            model = _remote(Family, external.folder, dtype, device)
        else:
            model = folders.load_model(external.folder, dtype, device)
        return model, lambda inputs, places: model(**inputs).logits[0, places][:, ids]
    if external.remote_code:
        from transformers import AutoModel

        own = _remote(AutoModel, external.folder, dtype, device)  # its own class, whose first output is the head's
        return own, lambda inputs, places: own(**inputs)[0][0, places]
    backbone = _backbone(external.folder, dtype, device)
    head = _head(external, device)
    return backbone, lambda inputs, places: head(backbone(**inputs).last_hidden_state[0, places])


def _one_token(external: External, tokenizer: Any, text: str) -> int:
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise UserError(f"{external.path}: positive and negative are a token each, and {text!r} is {len(ids)} of them")
    return int(ids[0])


def _backbone(folder: Path, dtype: str, device: str) -> Any:
    """Load a model without any head. UserError if weights of it are missing in the folder."""
    import torch
    from transformers import AutoModel

    chosen = "auto" if dtype == "auto" else getattr(torch, dtype)
    options = {"local_files_only": True, "trust_remote_code": False, "output_loading_info": True}
    model, loading = AutoModel.from_pretrained(str(folder), dtype=chosen, attn_implementation="sdpa", **options)
    if missing := sorted(loading["missing_keys"]):
        raise UserError(f"{folder}: {len(missing)} weights are missing, such as {missing[0]}: they would be random")
    return model.to(device).eval()


def _remote(family: Any, folder: Path, dtype: str, device: str) -> Any:
    import torch

    options = {"local_files_only": True, "trust_remote_code": True}
    chosen = "auto" if dtype == "auto" else getattr(torch, dtype)
    return family.from_pretrained(str(folder), dtype=chosen, **options).to(device).eval()


def _head(external: External, device: str) -> Callable[[Any], Any]:
    """Return the head of the weights that begin with its name: linear layers, in float32, a ReLU between two.

    UserError if there is none, or it gives other than two classes, or one value.
    """
    from safetensors import safe_open

    name = external.head_names
    weights: dict[str, Any] = {}
    for file in sorted(external.folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            named = [key for key in opened.keys() if re.match(rf"(.*\.)?{re.escape(name)}\.", key)]  # noqa: SIM118
            weights |= {key: opened.get_tensor(key).float().to(device) for key in named}
    layers = sorted((key for key in weights if key.endswith("weight")), key=_numbered)
    classes = 1 if external.kind == "value_head" else 2
    if not layers or weights[layers[-1]].shape[0] != classes:
        found = {key: list(tensor.shape) for key, tensor in weights.items()}
        raise UserError(
            f"{external.path}: kind {external.kind} needs weights {name}.… with {classes} outputs at last, in "
            f"*.safetensors; found: {found or 'none'}. Set `head` to how their names begin"
        )

    def head(hidden: Any) -> Any:
        import torch.nn.functional as F

        values = hidden.float()
        for number, layer in enumerate(layers):
            values = F.relu(values) if number else values
            values = F.linear(values, weights[layer], weights.get(f"{layer.removesuffix('weight')}bias"))
        return values

    return head


def _numbered(name: str) -> list[Any]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
