"""The files of a source. In: where its rows lie (a file, a folder, a repository of the hub). Out: local files.

A repository of the hub is fetched by `huggingface_hub` at a pinned commit, into its cache; HF_HUB_OFFLINE is respected.
Only data files are fetched: no code of a repository is ever run, and nothing is unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmprm.config.sources import DataFiles, ImageFolderSource
from mmprm.runtime.errors import UserError

READABLE = (".parquet", ".pq", ".json", ".jsonl", ".ndjson", ".csv")


@dataclass(frozen=True)
class Located:
    """The files of a source, in the order in which they are read, and the folder that image paths start from.

    links: a further folder into which links in `images` may lead: the hub's cache keeps its files there.
    """

    files: tuple[Path, ...]
    images: Path
    links: Path | None = None


def locate(source: DataFiles) -> Located:
    """Find the files, fetching them where they are on the hub. UserError says what is missing and how to get it."""
    if source.path is None:
        folder = _fetched(source)
        files = source.matching(folder)
    else:
        folder = source.path if source.path.is_dir() else source.path.parent
        files = source.local_files()
    if not files:
        raise UserError(
            f"{folder}: no file matches {' or '.join(source.patterns)}; set `files` of the source to the names there"
        )
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: there is no such file; set `path` of the source to a {', '.join(READABLE)} file")
        if file.suffix not in READABLE:
            raise UserError(f"{file}: sources are {', '.join(READABLE)} files")
    if isinstance(source, ImageFolderSource):  # names of images are relative to the file that has them
        folder, *others = sorted({file.parent for file in files})
        if others:
            raise UserError(f"{folder} and {others[0]} both have image metadata: make each a source, by `files`")
    images = source.images or folder
    return Located(tuple(files), images, _blobs(images))


def _fetched(source: DataFiles) -> Path:
    """The snapshot of the repository at the revision, with its data files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    what = f"{source.repo} at {source.revision}"
    try:
        return Path(
            snapshot_download(
                str(source.repo), repo_type="dataset", revision=source.revision, allow_patterns=list(source.patterns)
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:  # offline, not there, gated, disk full
        includes = " ".join(f"--include '{pattern}'" for pattern in source.patterns)
        raise UserError(
            f"{what}: not in the hub's cache, and it cannot be fetched ({' '.join(str(error).split())[:300]}); where "
            f"there is a network, run `hf download {source.repo} --repo-type dataset --revision {source.revision} "
            f"{includes}`, or set `path` to a local copy"
        ) from error


def _blobs(folder: Path) -> Path | None:
    """Where the hub's cache keeps the files that a snapshot (…/datasets--owner--name/snapshots/COMMIT) links to."""
    for place in (folder, *folder.parents):
        if place.parent.name == "snapshots" and place.parent.parent.name.startswith("datasets--"):
            return place.parent.parent / "blobs"
    return None
