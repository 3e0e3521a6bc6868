"""Find the files of a source. In: a file, a folder, or a repository of the hub. Out: local files.

A repository of the hub is fetched by `huggingface_hub` at a pinned commit, into its cache; HF_HUB_OFFLINE is respected.
Only data files are fetched: no code of a repository is run, and nothing is unpickled.
"""

from dataclasses import dataclass
from pathlib import Path

from mmprm.config.sources import DataFiles, ImageFolderSource
from mmprm.runtime.errors import UserError

READABLE = (".parquet", ".pq", ".json", ".jsonl", ".ndjson", ".csv")


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source, in the order of reading, and the folder to which image paths are relative.

    links: a further folder into which links in `images` may lead: the hub's cache keeps its files there.
    """

    files: tuple[Path, ...]
    images: Path
    links: Path | None = None


def find_files(source: DataFiles) -> SourceFiles:
    """Find the files, or fetch them from the hub; UserError says what is missing and how to get it."""
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
            raise UserError(f"{file}: no such file; set `path` of the source to a {', '.join(READABLE)} file")
        if file.suffix not in READABLE:
            raise UserError(f"{file}: sources are {', '.join(READABLE)} files")
    if isinstance(source, ImageFolderSource):  # names of images are relative to the file that has them
        folder, *others = sorted({file.parent for file in files})
        if others:
            raise UserError(f"{folder} and {others[0]} both have image metadata: make each a source, by `files`")
    images = source.images or folder
    return SourceFiles(tuple(files), images, _blobs(images))


def _fetched(source: DataFiles) -> Path:
    """Fetch the data files of the repository at its revision; returns the snapshot's folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(
            snapshot_download(
                str(source.repo), repo_type="dataset", revision=source.revision, allow_patterns=list(source.patterns)
            )
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:  # offline, not there, gated, disk full
        includes = " ".join(f"--include '{pattern}'" for pattern in source.patterns)
        raise UserError(
            f"{source.repo} at {source.revision}: not in the hub's cache, and it cannot be fetched "
            f"({' '.join(str(error).split())[:300]}); with a network, run "
            f"`hf download {source.repo} --repo-type dataset --revision {source.revision} {includes}`, "
            "or set `path` to a local copy"
        ) from error


def _blobs(folder: Path) -> Path | None:
    """Return the folder to which a snapshot of the hub's cache (…/datasets--owner--name/snapshots/COMMIT) links."""
    for path in (folder, *folder.parents):
        if path.parent.name == "snapshots" and path.parent.parent.name.startswith("datasets--"):
            return path.parent.parent / "blobs"
    return None
