"""Uploads of an exported part to the Hugging Face hub, where its licences allow it. In: a folder of `mmprm export`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmprm.hub.export import MANIFEST
from mmprm.hub.licences import UNKNOWN
from mmprm.runtime.errors import UserError
from mmprm.runtime.log import log

# Licences that forbid to give away what was changed, or anything at all; `other` says nothing.
_FORBIDDEN = re.compile(r"(^|-)nd(-|$)|noderivs|no-derivatives|proprietary|all-rights-reserved|confidential|internal")
_SAYS_NOTHING = (UNKNOWN, "other", "")


@dataclass(frozen=True)
class Upload:
    """What goes to which repository of the hub: files by their names there."""

    repo: str
    kind: str  # dataset or model
    folder: Path
    files: list[str]

    @property
    def size(self) -> int:
        """The files' bytes."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def planned(folder: Path, part: str, repo: str) -> Upload:
    """Return what `push` would upload; part: data, policy or prm/<variant>.

    UserError where the folder has no such part, or a licence is unknown or forbids it; the message names the source.
    """
    licences = _licences(folder)
    of_data = [name for name in ("labels", "candidates") if name in licences]
    wanted = of_data if part == "data" else [part] if part in licences and part not in of_data else []
    if not wanted:
        there = ["data"] * bool(of_data) + [name for name in licences if name not in of_data]
        raise UserError(f"{folder}: there is no part {part!r} in it; allowed: {', '.join(there)}")
    _check({name: stated for one in wanted for name, stated in licences[one].items()}, part)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo):
        raise UserError(f"{repo!r}: not owner/name, as the hub calls repositories")
    root = folder if part == "data" else folder / part
    kept = ("README.md", "data/", "data_card/", "metrics/") if part == "data" else ("",)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return Upload(repo, "dataset" if part == "data" else "model", root, [one for one in names if one.startswith(kept)])


def push(upload: Upload, private: bool, endpoint: str | None = None) -> str:
    """Upload, and return the address of the last commit. UserError says what the hub answered.

    endpoint: the hub's address; None: HF_ENDPOINT, or huggingface.co. The token is that of `hf auth login` or HF_TOKEN.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(endpoint=endpoint)
    try:
        api.create_repo(upload.repo, repo_type=upload.kind, private=private, exist_ok=True)
        found = api.upload_folder(
            repo_id=upload.repo,
            repo_type=upload.kind,
            folder_path=upload.folder,
            allow_patterns=upload.files,
            commit_message="Upload by mmprm push",
        )
    except (HfHubHTTPError, OSError, ValueError) as error:  # refused, no network, no token
        raise UserError(f"{upload.repo}: the hub did not take it: {' '.join(str(error).split())[:400]}") from error
    log.info(f"{len(upload.files)} files to {upload.repo}")
    return str(found.commit_url)


def _licences(folder: Path) -> dict[str, dict[str, str | None]]:
    path = folder / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["licences"]
        return {name: dict(stated) for name, stated in found.items()}
    except (AttributeError, OSError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not there or not readable ({error}); name a folder of `mmprm export`") from error


def _check(licences: dict[str, str | None], part: str) -> None:
    for name, stated in licences.items():
        if stated is None:  # drawn here
            continue
        if stated.strip().lower() in _SAYS_NOTHING:
            raise UserError(
                f"{part}: the licence of {name!r} is {stated!r}, so it is not uploaded. State it, if you know it: "
                f"`licence` of the source, or publish.base_licence of the base model; then export again"
            )
        if _FORBIDDEN.search(stated.strip().lower().replace(" ", "-")):
            raise UserError(f"{part}: the licence of {name!r}, {stated}, forbids it: it is not uploaded")
