"""Files in an object store: they are fetched before they are read. The store is an S3 server of this process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from snake import Plan, Workflow, changed


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on this machine with an empty bucket; its address. Its keys are in the environment alone."""
    import boto3
    from moto.server import ThreadedMotoServer

    keys = {"ACCESS_KEY": "a-key", "SECRET_KEY": "a-secret"}
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    for name, value in {**keys, "ENDPOINT_URL": address}.items():
        monkeypatch.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", value)
    access = {"aws_access_key_id": "a-key", "aws_secret_access_key": "a-secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **access).create_bucket(Bucket="pool")
    yield address
    server.stop()


@pytest.mark.parametrize(
    ("local", "key"),
    [
        ("data/own.jsonl", "2026/own.jsonl"),
        pytest.param(
            "data/-it's `touch owned` $(touch owned).jsonl",
            "2026/$(touch>owned)'.jsonl",
            marks=pytest.mark.heavy,
        ),
    ],
    ids=["usual", "odd"],
)
def test_a_source_is_read_from_a_bucket_and_its_keys_are_nowhere(
    local: str, key: str, workflow: Workflow, bucket: str
) -> None:
    import boto3

    access = {"aws_access_key_id": "a-key", "aws_secret_access_key": "a-secret", "region_name": "us-east-1"}
    rows = [{"id": f"q{n}", "question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(5)]
    body = "\n".join(map(json.dumps, rows)).encode()
    boto3.client("s3", endpoint_url=bucket, **access).put_object(Bucket="pool", Key=key, Body=body)
    config = changed({"sources.own": {"kind": "table", "path": local, "columns": {"image": ""}}})
    config["remote"] = {local: f"s3://pool/{key}"}
    target = "results/small/problems/own.parquet"
    done = workflow.run(target, config=config)
    assert done.returncode == 0, done.stderr
    assert {"fetch", "intake"} <= Plan(done.stderr + done.stdout).rules
    assert (workflow.folder / local).read_bytes() == body
    assert (workflow.folder / target).is_file()
    assert workflow.plan(target, config=config).jobs == []
    assert not list(workflow.folder.rglob("owned"))
    written = [path for path in workflow.folder.rglob("*") if path.is_file()]
    assert not any(b"a-secret" in path.read_bytes() for path in written)
