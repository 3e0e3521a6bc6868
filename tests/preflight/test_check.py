"""`mmprm check` tells everything at once: ten planted faults in one call, none of them twice, and no false alarm."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from real_data import real_samples
from typer.testing import CliRunner

from mmprm.cli import app
from mmprm.config import load
from mmprm.preflight.inventory import head_columns, missing
from mmprm.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


def check(folder: Path, values: dict[str, Any]) -> tuple[int, str]:
    """Exit status and output of `mmprm check`."""
    file = folder / "checked.yaml"
    file.write_text(yaml.safe_dump(values))
    done = CliRunner().invoke(app, ["check", str(file)])
    return done.exit_code, done.output


@contextlib.contextmanager
def server(status: int) -> Iterator[str]:
    """A server that answers everything with a status; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}/v1"
    finally:
        httpd.shutdown()
        httpd.server_close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """configs/mm_prm.yaml with ten faults, and nothing else that is wrong."""
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "configs/mm_prm.yaml").read_text())
    published = {
        "mm_k12": ["id", "question", "answer", "image"],
        "olympiadbench": list("abc"),
        "mathvista": [],
        "mathverse": [],
        "mathvision": [],
    }
    from mmprm.problems.adapters import adapter_of

    sources = load(values).sources
    for name in published:
        path = Path(values["sources"][name]["path"])
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = list(adapter_of(sources[name]).columns.values())  # type: ignore[arg-type]
        pq.write_table(pa.table({column: ["x"] for column in columns}), path)
    # 1: the base's second file of weights is not there.
    base = Path(values["policy"]["base"])
    base.mkdir(parents=True)
    sizes = json.loads((ROOT / "src/mmprm/preflight/shapes/InternVL2_5-8B-hf.json").read_text())["config"]
    (base / "config.json").write_text(json.dumps(sizes))
    (base / "tokenizer.json").write_text("{}")
    (base / "model-00001-of-00002.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    # 2: a file of data is not there.  3: one lacks a column.  4: one is no parquet file.
    values["sources"]["sft"]["path"] = "data/elsewhere.parquet"
    Path("data/mm_k12/test.json").write_text(json.dumps([{"id": 1, "question": "?", "image_path": "a.png"}]))
    Path("data/mathvision/test.parquet").write_bytes(b"a page that says 404")
    # 5: a folder of images is not there.  6: the judge is away.
    values["sources"]["mathverse"]["images"] = "data/pictures"
    values["grading"] = {"judge": {"url": f"http://127.0.0.1:{free_port()}/v1", "model": "judge"}}
    # 7: too many GPUs.  8: a training that does not fit.  9: an image longer than a sequence.  10: or than a prompt.
    values["policy"]["training"] |= {"gpus": 16}
    values["prm"]["variants"] = {"soft": {"gpus": 1, "deepspeed": "zero1", "micro_batch_size": 1}}
    values["prm"]["training"]["max_length"] = 3000
    values["engine"] |= {"max_model_len": 3000, "max_images": 1}
    values["sampling"]["max_new_tokens"] = 512
    return values


TOLD = [
    "policy.base: 1 of 2 files of weights are not there, such as models/InternVL2_5-8B-hf/model-00002-of-00002",
    "sources.sft.path: data/elsewhere.parquet: no such file",
    "sources.mm_k12_test.columns: data/mm_k12/test.json has no column answer; the columns are id, question, image_path",
    "sources.mathvision.path: data/mathvision/test.parquet: not a readable parquet file",
    "sources.mathverse.images: data/pictures: no such folder",
    "grading.judge.url: no server answers at http://127.0.0.1:",
    "policy.training.gpus: 16 GPUs, but a node has 8",
    "prm.variants.soft: training the PRM soft needs",
    "prm.variants.soft.max_length: 3000 tokens, but an image takes up to 3330",
    "engine.max_model_len: 3000 tokens hold no question with an image",
]


def test_ten_planted_faults_are_told_in_one_call(tmp_path: Path, planted: dict[str, Any]) -> None:
    status, output = check(tmp_path, planted)
    assert status == 1
    lines = output.split("10 things are missing or will not fit")[1].splitlines()[1:]
    assert len(lines) == len(TOLD), output
    for text in TOLD:
        assert len([line for line in lines if line.startswith(f"  {text}")]) == 1, f"{text}\n{output}"
    assert "hf download OWNER/NAME --local-dir models/InternVL2_5-8B-hf" in output


def test_what_is_mended_is_told_no_more(tmp_path: Path, planted: dict[str, Any]) -> None:
    with server(401) as url:  # it wants a key, and so it is there
        planted["grading"]["judge"]["url"] = url
        columns = ("id", "question", "answer", "image", "solution")
        pq.write_table(pa.table({column: ["x"] for column in columns}), "data/elsewhere.parquet")
        Path("data/pictures").mkdir()
        planted["policy"]["training"]["gpus"] = 8
        status, output = check(tmp_path, planted)
    assert status == 1 and "6 things are missing" in output, output
    for text in (TOLD[1], TOLD[4], TOLD[5], TOLD[6]):
        assert text not in output


def test_the_mini_run_lacks_nothing_and_the_table_shows_each_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["check", "workflow_config.yaml"])
    assert done.exit_code == 0, done.output
    assert "Nothing is missing, and all of it fits." in done.output
    for stage in ("policy", "seeds", "annotation", "prm soft", "bench test", "policy: checkpoints"):
        assert any(line.startswith(stage) for line in done.output.splitlines()), stage
    assert "To know" not in done.output


def test_real_rows_have_the_columns_that_their_sources_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert missing(load(real_samples())) == []
    values = real_samples()
    values["sources"]["mm_k12"] |= {"kind": "mathverse", "split": "testmini"}
    (told,) = missing(load(values))
    assert told.key == "sources.mm_k12.columns" and "this is not mathverse as it was published" in told.text


def test_columns_are_read_from_the_head_of_a_file_of_any_kind(tmp_path: Path) -> None:
    rows = [{"id": 1, "question": "a"}, {"id": 2, "question": "b", "answer": "c"}]
    files = {
        "rows.json": json.dumps(rows, indent=1),
        "rows.jsonl": "\n".join(map(json.dumps, rows)),
        "rows.csv": "id,question,answer\n1,a,c\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(f"\ufeff{text}")
        assert head_columns(tmp_path / name) == (["id", "question", "answer"], True), name
    # A file that is longer than what is read of it may have further columns below.
    (tmp_path / "long.json").write_text(json.dumps([{"id": 1, "image": "x" * 1_500_000}] * 3))
    assert head_columns(tmp_path / "long.json") == (["id", "image"], False)
    (tmp_path / "rows.parquet").write_text("no")
    with pytest.raises(UserError, match="not a readable parquet file"):
        head_columns(tmp_path / "rows.parquet")


def test_a_base_that_is_none_is_told_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "configs/one_gpu.yaml").read_text())
    told = {finding.key: finding.text for finding in missing(load(values))}
    assert "hf download OpenGVLab/InternVL3-2B-hf --local-dir models/InternVL3-2B-hf" in told["policy.base"]
    values["policy"]["base"] = "models/mini-base"
    assert "`snakemake mini_base` makes it" in missing(load(values))[0].text
    shutil.copytree(ROOT / "models/mini-base", "models/mini-base")
    assert "policy.base" not in {finding.key for finding in missing(load(values))}
    Path("models/mini-base/model.safetensors").unlink()
    assert "has no weights" in missing(load(values))[0].text
    Path("models/mini-base/config.json").write_text("[]")
    assert "not a JSON object" in missing(load(values))[0].text


def test_a_server_of_the_policy_may_come_later_but_not_once_the_policy_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((ROOT / "configs/ci.yaml").read_text())
    values["engine"] = {"kind": "server", "url": f"http://127.0.0.1:{free_port()}/v1"}

    def fatal() -> list[bool]:
        return [finding.fatal for finding in missing(load(values)) if finding.key == "engine.url"]

    assert fatal() == [False]
    Path("results/ci/policy").mkdir(parents=True)
    Path("results/ci/policy/manifest.json").write_text("{}")
    assert fatal() == [True]
