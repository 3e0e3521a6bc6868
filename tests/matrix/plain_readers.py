"""A PRM's folder read as any consumer would: by transformers alone, or by vLLM alone. In: JSON. Out: P(yes), as JSON.

`python -I plain_readers.py transformers|vllm`: mmprm is not imported. A line of stdin names two files, IN and OUT. IN
has the folder, the dtype and what to read: question, files of images, a solution with `<prm>` at each place to score.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def chat(template: Any, question: str, images: int) -> str:
    """The prompt of a question by the folder's own template; that of a model without images takes a text."""
    parts: Any = [{"type": "image"}] * images + [{"type": "text", "text": question}]
    content = parts if images or hasattr(template, "image_processor") else question
    turn = [{"role": "user", "content": content}]
    return str(template.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))


def opened(folder: str) -> tuple[Any, Any]:
    """The folder's processor, and its tokenizer."""
    from transformers import AutoProcessor

    both = AutoProcessor.from_pretrained(folder)
    return both, getattr(both, "tokenizer", both)


def no_yes(words: Any) -> list[int]:
    """The ids of No and Yes."""
    return [words.encode(word, add_special_tokens=False)[0] for word in ("No", "Yes")]


def by_transformers(asked: dict[str, Any]) -> list[list[float]]:
    """P(yes) at each marker, of the logits at it."""
    import torch
    from PIL import Image
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    both, words = opened(asked["folder"])
    sees = hasattr(AutoConfig.from_pretrained(asked["folder"]), "vision_config")
    family = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model = family.from_pretrained(asked["folder"], dtype=getattr(torch, asked["dtype"]))
    marker = words.encode("<prm>", add_special_tokens=False)[0]
    found = []
    for row in asked["read"]:
        text = chat(both, row["question"], len(row["images"])) + row["solution"]
        pictures = {"images": [[Image.open(file).convert("RGB") for file in row["images"]]]} if row["images"] else {}
        inputs = both(text=[text], **pictures, add_special_tokens=False, return_tensors="pt")
        inputs = {name: each.to(model.dtype) if each.is_floating_point() else each for name, each in inputs.items()}
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        at = logits[inputs["input_ids"][0] == marker][:, no_yes(words)]
        found.append(at.float().softmax(dim=-1)[:, 1].tolist())
    return found


def by_vllm(asked: dict[str, Any]) -> list[list[float]]:
    """P(yes) at each marker, of the probabilities of the token that vLLM would write there."""
    from PIL import Image
    from vllm import LLM, SamplingParams

    both, words = opened(asked["folder"])
    pictured = any(row["images"] for row in asked["read"])
    options: dict[str, Any] = {"limit_mm_per_prompt": {"image": 1, "video": 0}} if pictured else {}
    options |= {"max_model_len": asked["length"], "max_num_seqs": 8, "enforce_eager": True, "max_logprobs": -1}
    model = LLM(model=asked["folder"], dtype=asked["dtype"], **options)
    greedy = SamplingParams(temperature=0, max_tokens=1, logprobs=-1)
    no, yes = no_yes(words)
    found = []
    for row in asked["read"]:
        start = chat(both, row["question"], len(row["images"]))
        pieces = row["solution"].split("<prm>")[:-1]
        prompts: list[Any] = []
        for end in range(1, len(pieces) + 1):
            ids = words.encode(start + "<prm>".join(pieces[:end]) + "<prm>", add_special_tokens=False)
            pictures = {"multi_modal_data": {"image": [Image.open(file).convert("RGB") for file in row["images"]]}}
            prompts.append({"prompt_token_ids": ids} | (pictures if row["images"] else {}))
        outputs = model.generate(prompts, greedy, use_tqdm=False)
        said = [output.outputs[0].logprobs[0] for output in outputs]
        found.append([1 / (1 + 2.718281828459045 ** (each[no].logprob - each[yes].logprob)) for each in said])
    return found


def answer(library: str, asked: str, told: str) -> None:
    """Answer a request; the answer is {p: a list for each text} or {error}."""
    try:
        found = {"p": {"transformers": by_transformers, "vllm": by_vllm}[library](json.loads(Path(asked).read_text()))}
    except Exception as error:  # whatever the library says is the answer
        found = {"error": f"{type(error).__name__}: {error}"}
    Path(told).write_text(json.dumps(found))


def main() -> None:
    """Import the library once, and answer each request in a process of its own, whose status is printed."""
    library = sys.argv[1]
    began = set(sys.modules)  # set-up makes every Python of our environment mend torchvision at its start
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if library == "vllm":  # on a CPU: in one process, which starts in seconds
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
    importlib.import_module({"vllm": "vllm.entrypoints.llm"}.get(library, "transformers.models.auto.modeling_auto"))
    for line in sys.stdin:
        asked, told = line.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)  # stdout is for statuses
            answer(library, asked, told)
            ours = [name for name in set(sys.modules) - began if name.partition(".")[0] == "mmprm"]
            os._exit(len(ours))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
