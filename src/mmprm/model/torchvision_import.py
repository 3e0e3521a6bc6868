"""Makes `import torchvision` work beside a CPU build of torch. In: an environment. Out: a line in its site-packages.

PyPI has only the CUDA build of torchvision. Its compiled operators do not load with a CPU build of torch, and importing
it without them fails: it describes `torchvision::nms`, which does not exist. The processors of transformers and vLLM
import it and use none of these operators: their schemas suffice. They are defined when it is imported, not before.
Set-up runs this module once, so that a plain script's `from transformers import AutoProcessor` works too.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_HOOK = "mmprm_torchvision.pth"


class _Finder(MetaPathFinder):
    """Finds torchvision where it is, and defines its operators before it is executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "torchvision" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            _define_operators(spec.submodule_search_locations or [])
            execute(module)

        loader: Any = spec.loader
        loader.exec_module = exec_module  # of this one loader, which was made for this import
        return spec


def _define_operators(places: Sequence[str]) -> None:
    """Load torchvision's operators from its folder, or define the schemas of those that do not load."""
    import torch

    for library in (file for place in places for file in Path(place).glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)


def install() -> None:
    """Do this for the present process; may be repeated."""
    if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def main() -> None:
    """Do it for every process of this Python: `python -m mmprm.model.torchvision_import [FOLDER]`, site-packages."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("purelib"))
    (folder / _HOOK).write_text("import mmprm.model.torchvision_import as found; found.install()\n", encoding="utf-8")


if __name__ == "__main__":
    main()
