"""The container definitions, where no engine can build them: what hadolint does not see of them (scripts/check.sh)."""

from __future__ import annotations

import re

import pytest
from snake import ROOT, Workflow

DOCKERFILE = ROOT / "containers/Dockerfile"
DEFINITION = ROOT / "containers/mmprm.def"


def instructions() -> list[tuple[str, str]]:
    """(instruction, what it says) of the Dockerfile, continued lines put together."""
    text = "\n".join(line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#"))
    lines = [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def sections() -> dict[str, list[str]]:
    """The definition's header (named "") and sections: their lines without comments."""
    found: dict[str, list[str]] = {"": []}
    place = ""
    for line in DEFINITION.read_text().splitlines():
        if line.startswith("%"):
            place = line[1:].strip()
            assert place not in found, f"%{place} is there twice"
            found[place] = []
        elif line.strip() and not line.lstrip().startswith("#"):
            found[place].append(line.strip())
    return found


def test_images_and_conda_environments_install_from_the_lock_alone_and_by_its_hashes() -> None:
    """The locks overrule what some packages ask for: pip's own resolution would refuse them, or change them."""
    runs = [line for word, line in instructions() if word == "RUN"]
    hooks = [path.read_text().splitlines() for path in sorted((ROOT / "envs").glob("*.post-deploy.sh"))]
    assert len(hooks) == 3
    for commands in (runs, sections()["post"], *hooks):
        assert sum("install_lock.sh" in line for line in commands if not line.startswith("#")) == 1
        (package,) = [line for line in commands if "pip install" in line]
        assert "--no-deps" in package and "--no-build-isolation -e" in package, "set-up tools are the lock's, too"
    script = (ROOT / "scripts/install_lock.sh").read_text()
    assert re.findall(r"pip install .*", script) == ['pip install --no-deps --require-hashes "$@"; }']
    for text in ((ROOT / "containers/Dockerfile").read_text(), (ROOT / "containers/mmprm.def").read_text()):
        assert "INDEX_URL" not in text


@pytest.mark.parametrize("lock", ["cpu", "gpu"])
def test_every_pin_of_a_lock_has_its_hashes(lock: str) -> None:
    text = (ROOT / f"envs/lock-{lock}.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", text, re.M)
    assert len(pins) > 200 and all(hashes for _, _, hashes in pins)
    assert len(pins) == len(re.findall(r"^\S", text, re.M)), "a line is neither a pin nor a hash"


def test_the_image_is_run_by_a_user_without_rights() -> None:
    assert [line for word, line in instructions() if word == "USER"] == ["1000"]


@pytest.mark.parametrize("lock", ["cpu", "gpu"])
def test_what_the_images_copy_exists_and_is_what_a_run_needs(lock: str) -> None:
    copied = [part for word, said in instructions() if word == "COPY" for part in said.split()[:-1]]
    copied = [part.replace("${LOCK}", lock) for part in copied]
    assert all((ROOT / part).exists() for part in copied)
    assert {"src", "rules", "Snakefile", "pyproject.toml", "envs", f"envs/lock-{lock}.txt"} <= set(copied)
    files = [line.split()[0] for line in sections()["files"]]
    assert all((ROOT / part).exists() for part in files) and {
        "envs",
        "src",
        "pyproject.toml",
        "scripts/install_lock.sh",
    } == set(files)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not set(copied) & set(ignored)


def test_both_images_are_of_the_same_pinned_python_and_take_the_same_lock() -> None:
    (base,) = [said for word, said in instructions() if word == "FROM"]
    header = dict(line.split(": ") for line in sections()[""])
    assert header == {"Bootstrap": "docker", "From": base}
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base), "a version, no moving tag"
    arguments = dict(said.split("=", 1) for word, said in instructions() if word == "ARG")
    assert dict(line.split("=", 1) for line in sections()["arguments"]) == arguments and arguments["LOCK"] == "cpu"
    post = "\n".join(sections()["post"])
    assert set(re.findall(r"\{\{ (\w+) \}\}", post)) == set(arguments)
    assert "install_lock.sh {{ LOCK }} " in post and "envs/lock-${LOCK}.txt" in DOCKERFILE.read_text()


def test_with_apptainer_every_job_runs_in_the_image_and_without_it_none_does(workflow: Workflow) -> None:
    (workflow.folder / "bin").mkdir()
    for name in ("apptainer", "singularity"):  # Snakemake asks for its version when it starts
        tool = workflow.folder / "bin" / name
        tool.write_text(
            '#!/bin/sh\n[ "$1" = --version ] && echo "apptainer version 1.4.0" && exit 0\necho "$@" >>ran\n'
        )
        tool.chmod(0o755)
    command = workflow.command("--sdm", "apptainer", "--", "results/small/problems/ood.parquet")
    done = workflow.call(command, PATH=f"{workflow.folder / 'bin'}:/usr/bin:/bin")
    said = done.stdout + done.stderr
    assert (workflow.folder / "ran").exists(), said
    (ran,) = (workflow.folder / "ran").read_text().splitlines()
    assert "containers/mmprm.sif" in ran and "mmprm intake --config" in ran and "PYTHONPATH=" in ran
