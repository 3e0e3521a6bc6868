"""Where a source's files are found: a file, a folder, a snapshot, the hub's cache; and what is said of missing ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published import mathvision, write
from pydantic import TypeAdapter, ValidationError
from table_pictures import picture

from mmprm.config.overlap import check_derived, share_problems
from mmprm.config.overlap import share_rows as share
from mmprm.config.sources import Source
from mmprm.problems.rows import find_files
from mmprm.runtime.errors import UserError

REVISION = "0123456789abcdef0123456789abcdef01234567"
REPO = "MathLLMs/MathVision"


def source(**values: Any) -> Any:
    return TypeAdapter(Source).validate_python(values)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def cached(hub: Path, files: dict[str, bytes], repo: str = REPO) -> Path:
    """Lays files out as the hub's cache does: a snapshot of links to blobs. Returns the snapshot."""
    place = hub / f"datasets--{repo.replace('/', '--')}"
    snapshot = place / "snapshots" / REVISION
    (place / "blobs").mkdir(parents=True, exist_ok=True)
    for number, (name, content) in enumerate(files.items()):
        blob = place / "blobs" / f"{number:040x}"
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(Path("/".join([".."] * (len(Path(name).parts) + 1))) / "blobs" / blob.name)
    return snapshot


def parquet(tmp_path: Path, *names: int) -> bytes:
    return write(tmp_path / "made.parquet", "mathvision", [mathvision(name) for name in names]).read_bytes()


def test_the_files_of_a_split_are_read_from_the_hubs_cache_without_a_network(
    hub: Path, tmp_path: Path, intake: Callable[..., Any]
) -> None:
    cached(
        hub,
        {
            "data/test-00001-of-00002.parquet": parquet(tmp_path, 3),
            "data/test-00000-of-00002.parquet": parquet(tmp_path, 1, 2),
            "data/testmini-00000-of-00001.parquet": parquet(tmp_path, 2),
            "README.md": b"---",
            "loader.py": b"raise SystemExit('code of a repository was run')",
        },
    )
    found, bad = intake(kind="mathvision", repo=REPO, revision=REVISION)
    assert list(found) == ["1", "2", "3"] and not bad
    assert list(intake(kind="mathvision", repo=REPO, revision=REVISION, split="testmini")[0]) == ["2"]
    assert list(intake(kind="mathvision", repo=REPO, revision=REVISION, limit=2)[0]) == ["1", "2"]


def test_a_repository_that_is_not_in_the_cache_says_how_to_get_it(hub: Path) -> None:
    with pytest.raises(UserError) as raised:
        find_files(source(kind="mathvision", repo=REPO, revision=REVISION))
    said = str(raised.value)
    assert f"{REPO} at {REVISION}: not in the hub's cache" in said
    assert f"hf download {REPO} --repo-type dataset --revision {REVISION} --include 'test.parquet'" in said


def test_a_cached_commit_without_the_wanted_files_is_named_with_what_was_looked_for(hub: Path) -> None:
    cached(hub, {"README.md": b"---"})
    with pytest.raises(UserError, match=r"no file matches .*test-\*\.parquet.*set `files`"):
        find_files(source(kind="mathvision", repo=REPO, revision=REVISION))


def test_a_folder_is_a_snapshot_whether_its_files_are_links_or_not(
    hub: Path, tmp_path: Path, intake: Callable[..., Any]
) -> None:
    snapshot = cached(hub, {"data/test-0.parquet": parquet(tmp_path, 1), "data/testmini-0.parquet": b"not read"})
    shutil.copytree(snapshot, tmp_path / "plain")
    for folder in (snapshot, tmp_path / "plain"):
        assert list(intake(kind="mathvision", path=folder)[0]) == ["1"]
    assert list(intake(kind="mathvision", path=tmp_path / "plain", files=["data/test-*"])[0]) == ["1"]


def test_pictures_of_a_cached_repository_are_found_behind_their_links_and_no_others(
    hub: Path, tmp_path: Path, intake: Callable[..., Any]
) -> None:
    rows = "\n".join(
        f'{{"id": "{name}", "question": "q", "answer": "1", "image": "{path}"}}'
        for name, path in (
            ("good", "images/a.png"),
            ("blob", "../../blobs/0000000000000000000000000000000000000001"),
            ("out", "images/out.png"),
        )
    )
    snapshot = cached(hub, {"rows.jsonl": rows.encode(), "images/a.png": picture()})
    (tmp_path / "secret.png").write_bytes(picture(1))
    (snapshot / "images/out.png").symlink_to(tmp_path / "secret.png")
    settings = {"kind": "table", "repo": REPO, "revision": REVISION, "files": ["*.jsonl"]}
    for place in (settings, {"kind": "table", "path": snapshot / "rows.jsonl"}):
        found, bad = intake(**place)
        assert found["good"].images == (picture(),) and bad == {1: "path_outside", 2: "path_outside"}


def test_files_that_are_no_tables_are_never_opened(tmp_path: Path) -> None:
    (tmp_path / "rows.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match=r"rows\.pkl: sources are \.parquet"):
        find_files(source(kind="table", path=tmp_path, files=["*.pkl"]))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "give either path"),
        ({"path": "a.parquet", "repo": REPO, "revision": REVISION}, "give either path"),
        ({"repo": REPO}, "repo and revision go together"),
        ({"path": "a.parquet", "revision": REVISION}, "repo and revision go together"),
        ({"repo": REPO, "revision": "main"}, "revision"),
        ({"repo": "../x", "revision": REVISION}, "repo"),
        ({"repo": "https://hub/x/y", "revision": REVISION}, "repo"),
        ({"path": "a.parquet", "split": "train"}, "'test' or 'testmini'"),
    ],
)
def test_a_source_names_one_place_and_a_whole_commit(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        source(kind="mathvision", **values)


def test_sources_that_share_problems_are_told_by_their_files(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write(tmp_path / f"data/{name}-0.parquet", "mathvision", [mathvision(1)])
    hub = {"kind": "mm_k12", "repo": "a/b", "revision": REVISION}
    folder = {"kind": "mm_k12", "path": tmp_path}
    file = {"kind": "table", "path": tmp_path / "data/test-0.parquet"}
    assert source(**folder).local_files() == [tmp_path / "data/train-0.parquet"]
    assert share(source(**hub), source(**hub | {"repo": "A/b", "revision": "f" * 40}))
    assert not share(source(**hub), source(**hub, split="test"))
    assert not share(source(**hub), source(**folder))
    assert not share(source(**folder), source(**folder, split="test"))
    assert share(source(**folder, split="test"), source(**file))
    assert not share(source(**folder), source(**file))
    vision = {"kind": "mathvision", "path": "x.parquet"}
    assert share(source(**vision), source(kind="mathvision", path="y.parquet", split="testmini"))


def test_what_a_curated_source_sets_aside_shares_nothing_with_what_it_keeps(tmp_path: Path) -> None:
    pool = {"kind": "table", "path": "pool.jsonl", "columns": {"solution": "solution"}}
    sources = {
        "pool": source(**pool),
        "again": source(**pool),
        "kept": source(kind="curated", sources=["pool"], test_size=1),
        "test": source(kind="set_aside", of="kept"),
        "sft": source(kind="tagged", sources=["kept"]),
        "raw": source(kind="tagged", sources=["pool"]),
        "both": source(kind="curated", sources=["kept", "again"]),
    }
    check_derived(sources)
    shared = {name: share_problems(sources, "test", name) for name in sources if name != "test"}
    assert shared == {"pool": True, "again": True, "kept": False, "sft": False, "raw": True, "both": True}
    assert shared == {name: share_problems(sources, name, "test") for name in shared}
    assert share_problems(sources, "kept", "raw")


def test_a_derived_source_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    pool = source(kind="table", path="pool.jsonl")
    with pytest.raises(ValueError, match=r"sources\.a\.sources: there is no source 'b'; allowed: \['pool'\]"):
        check_derived({"pool": pool, "a": source(kind="curated", sources=["b"])})
    with pytest.raises(ValueError, match="'a' is made from itself"):
        check_derived({"a": source(kind="curated", sources=["b"]), "b": source(kind="tagged", sources=["a"])})
    with pytest.raises(ValueError, match=r"sources\.a\.of: 'pool' is not of kind curated"):
        check_derived({"pool": pool, "a": source(kind="set_aside", of="pool")})


def test_a_data_file_of_a_folder_that_is_a_link_out_of_it_is_refused(
    tmp_path: Path, intake: Callable[..., Any]
) -> None:
    """A cloned repository may link what is the user's; a file that the user names is read wherever it lies."""
    (tmp_path / "clone").mkdir()
    (tmp_path / "own.jsonl").write_text('{"id": "1", "question": "q", "answer": "1"}\n')
    (tmp_path / "clone/rows.jsonl").symlink_to(tmp_path / "own.jsonl")
    settings = {"kind": "table", "columns": {"image": ""}}
    with pytest.raises(UserError, match="a link out of"):
        intake(**settings, path=tmp_path / "clone", files=["*.jsonl"])
    assert list(intake(**settings, path=tmp_path / "clone/rows.jsonl")[0]) == ["1"]
    (tmp_path / "clone/inside.jsonl").write_text((tmp_path / "own.jsonl").read_text())
    (tmp_path / "clone/link.jsonl").symlink_to("inside.jsonl")
    assert list(intake(**settings, path=tmp_path / "clone", files=["link.jsonl"])[0]) == ["1"]
