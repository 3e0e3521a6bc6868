"""Local Hugging Face folders of image-text-to-text models: loading, control tokens, manifests, fingerprints.

Code in a folder is never run, and nothing is downloaded.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmprm.data import tables
from mmprm.model.hf_env import ask_the_driver, prepare
from mmprm.model.step_text import TAGS, control_ids, token_id
from mmprm.model.text_processor import TextProcessor
from mmprm.runtime.errors import UserError
from mmprm.runtime.provenance import provenance

MANIFEST = "manifest.json"
# The files that decide a text's tokens: tokenizer, processor, chat template.
_TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json")
_TOKENS = (*_TOKENIZER, "*processor*.json", "chat_template*")
# The files that decide a model's output: these, weights and configuration; not cards or logs.
_OUTPUT = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", *_TOKENS)
_OTHER_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json", "adapter_model.bin")


def _folder(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: not a Hugging Face model folder (it has no config.json)")
    return str(folder)


def _known(folder: Path) -> str:
    """Return the folder; raise UserError if only code of its publisher could load it, before transformers offers to."""
    prepare()
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = json.loads((Path(_folder(folder)) / "config.json").read_text(encoding="utf-8"))
    kind = config.get("model_type")
    if kind in CONFIG_MAPPING_NAMES:
        return str(folder)
    never = "code in a model folder is never run"
    if kind == "internvl_chat":
        raise UserError(
            f"{folder}: InternVL in the format of its publisher's own code (InternVLChatModel); {never}. Take the same "
            "weights in transformers' format: the repository of the same name that ends in -hf (for "
            "OpenGVLab/InternVL3-2B it is OpenGVLab/InternVL3-2B-hf). Where there is none, convert the folder: "
            "src/transformers/models/internvl/convert_internvl_weights_to_hf.py in the repository of transformers"
        )
    raise UserError(
        f"{folder}: transformers {transformers.__version__} has no model type {kind!r}, and {never}: take the model in "
        "transformers' format, or another one"
    )


def load_processor(folder: Path) -> Any:
    """Load tokenizer, image processor and chat template. UserError if one, or a package of theirs, is missing."""
    known = _known(folder)
    from transformers import AutoProcessor

    if not reads_images(folder):
        from transformers import AutoTokenizer

        words = AutoTokenizer.from_pretrained(known, local_files_only=True, trust_remote_code=False)
        words.init_kwargs.pop("local_files_only", None)
        return _with_template(folder, TextProcessor(words))
    try:
        processor = AutoProcessor.from_pretrained(known, local_files_only=True, trust_remote_code=False)
    except ImportError as error:
        raise UserError(f"{folder}: its processor needs a package that is not installed: {error}") from error
    if getattr(processor, "tokenizer", None) is None:
        raise UserError(f"{folder}: its processor has no tokenizer beside an image processor")
    processor.tokenizer.init_kwargs.pop("local_files_only", None)  # else it is saved into tokenizer_config.json
    return _with_template(folder, processor)


def _with_template(folder: Path, processor: Any) -> Any:
    if processor.chat_template is None:
        raise UserError(f"{folder}: it has no chat template; put chat_template.jinja into the folder")
    return processor


def reads_images(folder: Path) -> bool:
    """Return whether the model reads images beside text; a language model (AutoModelForCausalLM) does not."""
    prepare()
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    return model_type(folder) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES


def reads_text_alone(folder: Path) -> bool:
    """Return whether the model is a language model that transformers knows, and none that reads images."""
    prepare()
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type(folder) in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not reads_images(folder)


def load_model(folder: Path, dtype: str = "float32", device: str = "cpu") -> Any:
    """Load a model in evaluation mode. dtype: float32, bfloat16, float16, or auto (that of the checkpoint)."""
    known = _known(folder)
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # of loading and saving weights: a line per file in a log
    config = _config(folder)
    config._attn_implementation = "sdpa"  # a folder may name another one, which from_pretrained would let win
    family = AutoModelForImageTextToText if reads_images(folder) else AutoModelForCausalLM
    model = family.from_pretrained(
        known,
        config=config,
        dtype="auto" if dtype == "auto" else getattr(torch, dtype),
        attn_implementation="sdpa",
        local_files_only=True,
        trust_remote_code=False,
    )
    return model.to(device).eval()


def _config(folder: Path) -> Any:
    known = _known(folder)
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(known, local_files_only=True, trust_remote_code=False)


def model_type(folder: Path) -> str:
    """Return the name that transformers has for the model's family."""
    return str(json.loads((Path(_folder(folder)) / "config.json").read_text(encoding="utf-8")).get("model_type"))


def longest_input(folder: Path) -> int:
    """Return the number of tokens that the model has positions for."""
    return int(_config(folder).get_text_config().max_position_embeddings)


def ties_embeddings(folder: Path) -> bool:
    """Return whether the output layer is the input embedding."""
    config = _config(folder)  # some families set it here, others in the language model's configuration
    language = config.get_text_config()
    return bool((language if hasattr(language, "tie_word_embeddings") else config).tie_word_embeddings)


def working_dtype(dtype: str, device: str) -> str:
    """Resolve `auto` to float32 on the CPU, where half precision is slow and its samples do not repeat."""
    return "float32" if dtype == "auto" and device == "cpu" else dtype


def weights_dtype(folder: Path, dtype: str) -> str:
    """Return the dtype by its name, and that of the folder's weights for `auto`; float32 if the folder names none."""
    if dtype != "auto":
        return dtype
    return str(getattr(_config(folder), "dtype", None) or "float32").removeprefix("torch.")


def device() -> str:
    """Return `cuda` if available, else `cpu`."""
    ask_the_driver()
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def add_control_tokens(processor: Any, model: Any = None) -> dict[str, int]:
    """Add the tags that are not yet single tokens, and return the ids of all control tokens.

    A new token's embeddings (input and output) begin as the mean of the tokens that it was split into before. Raises
    UserError if Yes or No is not one token: those are never added.
    """
    tokenizer = processor.tokenizer
    encoded = {tag: tokenizer.encode(tag, add_special_tokens=False) for tag in TAGS}
    pieces = {tag: ids for tag, ids in encoded.items() if len(ids) != 1 or ids[0] == tokenizer.unk_token_id}
    if pieces:
        from tokenizers import AddedToken

        # Not `special`: a decoder that skips special tokens would drop the steps' tags.
        tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in pieces])
    if pieces and model is not None:
        initialise_embeddings(model, tokenizer, pieces)
    return control_ids(tokenizer)


def initialise_embeddings(model: Any, tokenizer: Any, pieces: dict[str, list[int]]) -> None:
    """Set the input and output embeddings of each token to the mean over its `pieces` (token ids)."""
    import torch

    if model.get_input_embeddings().weight.shape[0] < len(tokenizer):  # some models have spare rows
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = [model.get_input_embeddings().weight]
    if model.get_output_embeddings() is not None and model.get_output_embeddings().weight is not rows[0]:  # not tied
        rows.append(model.get_output_embeddings().weight)
    with torch.no_grad():
        for weight in rows:
            for token, ids in pieces.items():
                weight[token_id(tokenizer, token)] = weight[ids].mean(dim=0)


def write_manifest(folder: Path, info: dict[str, Any]) -> None:
    """Write manifest.json, the last file of a model folder: size and SHA-256 of every file, `info`, and provenance.

    The provenance has the SHA-256 of `info`, which holds the configuration and the seed.
    """
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST and not path.name.startswith("."):
            path.chmod(tables.usual_mode())  # safetensors makes files that only their owner can read
            files[name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    made = provenance() | {"info": hashlib.sha256(json.dumps(info, sort_keys=True).encode()).hexdigest()}
    tables.write_json(folder / MANIFEST, {"info": info, "files": files, "provenance": made})


def check_manifest(folder: Path, whole: bool = False) -> dict[str, Any]:
    """Read the manifest, and compare the folder with it.

    Raises UserError if it or a file is missing, a file differs in size, or the tokenizer, processor or chat template
    differs: the model, and the data made with it, would be read in other tokens. whole: or if any file differs, which
    reads the weights.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        if not isinstance(manifest["info"], dict):
            raise TypeError("info is no object")
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing, so the folder is not complete; run `snakemake {path}`") from error
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a manifest ({error!r:.200}); delete it and run `snakemake {path}`") from error
    for name, (expected, _) in files.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{path}: not a manifest: {name!r} leads out of the folder; delete it and run again")
        size = file.stat().st_size if file.is_file() else None
        if size != expected:
            raise UserError(f"{file}: {size} bytes, but {expected} in the manifest; delete {path} and run again")
    for name in _names(folder, _TOKENS):
        if name not in files or files[name][1] != _sha256(folder / name):
            raise UserError(
                f"{folder / name}: differs from the tokenizer that the model was trained with; restore the original "
                f"file, or delete {path} and run again"
            )
    for name, (_, digest) in files.items() if whole else ():
        if _sha256(folder / name) != digest:
            raise UserError(f"{folder / name}: not what {path} says (SHA-256); delete the manifest and run again")
    return manifest


def trained_on_counts(folder: Path) -> bool:
    """Return whether the manifest, if any, is that of a PRM with `label: counts`, whose logits give a concentration."""
    info = check_manifest(folder)["info"] if (folder / MANIFEST).is_file() else {}
    return bool(info.get("config", {}).get("prm", {}).get("label") == "counts")


def _names(folder: Path, patterns: Sequence[str]) -> list[str]:
    return sorted({path.name for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def fingerprint(folder: Path) -> str:
    """Hash the files that decide the model's output; with a manifest, its hashes save reading the weights again."""
    known = check_manifest(folder)["files"] if (folder / MANIFEST).is_file() else {}
    digest = hashlib.sha256()
    # transformers reads others where there are no safetensors. Where there are, the others have never counted.
    names = _names(Path(_folder(folder)), _OUTPUT)
    names += [] if any(name.endswith(".safetensors") for name in names) else _names(folder, _OTHER_WEIGHTS)
    for name in names:
        content = known[name]["sha256"] if name in known else _sha256(folder / name)
        digest.update(f"{name}\x1f{content}\x1e".encode())
    return digest.hexdigest()[:32]


def token_fingerprint(folder: Path) -> str:
    """Hash what decides the tokens that a model reads: tokenizer, processor, chat template, and who reads them."""
    import tokenizers
    import transformers

    digest = hashlib.sha256(f"{transformers.__version__} {tokenizers.__version__}".encode())
    for name in _names(Path(_folder(folder)), _TOKENS):
        digest.update(f"{name}\x1f{_sha256(folder / name)}\x1e".encode())
    return digest.hexdigest()[:32]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
