"""Runs elsewhere: not in the checkout, without home, name, shared memory or a UTF-8 locale, on other and full disks."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from small_disks import fill, small_disk
from snake import ROOT, changed

from mmprm.config import load
from mmprm.runtime.errors import UserError
from mmprm.workflow.checkout import default_config, lend_model, settle_environment
from mmprm.workflow.run_lock import hold_folder, write_resolved_config

BASE = Path("models/mini-base")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_in_another_folder_has_the_default_configuration_and_the_kept_model_and_needs_no_home(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "-n"]
    environment = {**os.environ, "HOME": "/proc/no/home", "XDG_CACHE_HOME": ""}
    done = subprocess.run(
        [*command, "--directory", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rule train_policy" in done.stderr + done.stdout and "rule mini_base" not in done.stderr + done.stdout
    assert (tmp_path / BASE).resolve() == ROOT / BASE


def test_a_configuration_and_a_model_of_the_folders_own_come_first(folder: Path) -> None:
    (folder / "workflow_config.yaml").write_text("{}")
    (folder / BASE).mkdir(parents=True)
    (folder / BASE / "config.json").write_text("{}")
    lend_model(BASE, ROOT)
    assert default_config(str(ROOT)) == "workflow_config.yaml" and not (folder / BASE).is_symlink()


@pytest.mark.parametrize("base", [ROOT / BASE, Path("models/none")])
def test_what_is_named_wholly_or_is_not_in_the_checkout_is_not_lent(base: Path, folder: Path) -> None:
    lend_model(base, ROOT)
    assert not (folder / "models").exists()


def test_a_link_to_a_checkout_that_has_moved_is_renewed(folder: Path) -> None:
    (folder / BASE).parent.mkdir()
    (folder / BASE).symlink_to("/nowhere")
    lend_model(BASE, ROOT)
    assert (folder / BASE / "config.json").is_file()


def test_a_folder_that_can_only_be_read_ends_a_run_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", read_only=True) as place:
        monkeypatch.chdir(place)
        for work in (
            lambda: hold_folder(on_cluster=False),
            lambda: write_resolved_config(load(changed({}))),
            lambda: lend_model(BASE, ROOT),
        ):
            with pytest.raises(UserError, match=r"^\S+: Read-only file system; run in a folder that can be written"):
                work()
        monkeypatch.chdir(tmp_path)


def test_a_full_disk_ends_a_run_before_its_first_job_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk") as place:
        monkeypatch.chdir(place)
        hold_folder(on_cluster=False)[0].close()
        fill(place)
        with pytest.raises(UserError, match=r"^results/small/config\.json: No space left on device; make room"):
            write_resolved_config(load(changed({})))
        monkeypatch.chdir(tmp_path)


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setenv("PYTHONUTF8", "0")
    settle_environment()
    assert os.environ.get("LOGNAME") != f"user{os.getuid()}", "one that has a name keeps it"
    monkeypatch.setattr(getpass, "getuser", unknown)
    monkeypatch.setenv("LOGNAME", "")
    settle_environment()
    assert os.environ["LOGNAME"] == f"user{os.getuid()}" and os.environ["PYTHONUTF8"] == "1"


@pytest.mark.parametrize("options", ["ro", "mode=0500"])
def test_a_machine_without_shared_memory_is_named_before_anything_is_loaded(options: str, tmp_path: Path) -> None:
    """vLLM and pools of processes need it; a training would end well, and the sampling behind it would not begin."""
    arguments = "--config none --problems none --work none --out none"
    shared = f"mount -t tmpfs -o {options},size=4k tmpfs /dev/shm"
    user = "setpriv --reuid 12345 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search"
    python = f"{sys.executable} -c 'from mmprm.cli import app; app()'"
    command = ["unshare", "--mount", "bash", "-c", f"set -eu; {shared}; {user} {python} train-policy {arguments}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    why = "Read-only file system" if options == "ro" else "Permission denied"
    assert done.returncode == 2
    assert done.stderr.startswith(f"mmprm train-policy: /dev/shm: {why}; processes share memory there")


ODD = """
set -eu
mount --bind {checkout} {folder}/checkout
mount -o remount,ro,bind {folder}/checkout
mount -t tmpfs -o size=2g tmpfs {folder}/run
chown 12345:12345 {folder}/run
cd {folder}/run
setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps +dac_read_search --ambient-caps +dac_read_search \\
    {python} -m snakemake --snakefile {folder}/checkout/Snakefile --configfile {folder}/checkout/configs/ci.yaml \\
    --cores 2 --nocolor
cp results/ci/report.html {folder}
"""


@pytest.mark.heavy
@pytest.mark.slow
def test_a_whole_run_without_name_or_home_of_a_checkout_that_can_only_be_read() -> None:
    """In an ASCII locale, on another disk than the checkout; the mounts are those of the process alone."""
    if os.getuid():
        pytest.skip("only root can mount, and become another user")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in ("checkout", "run"):
            (folder / part).mkdir()
        script = ODD.format(checkout=ROOT, folder=folder, python=sys.executable)
        environment = {key: value for key, value in os.environ.items() if key not in ("USER", "LOGNAME", "USERNAME")}
        environment |= {"HOME": "/proc/no/home", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        environment |= {"PYTHONPATH": f"{folder}/checkout/src"}
        command = ["unshare", "--mount", "bash", "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if "unshare failed" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"no mounts here: {done.stderr.strip()[:200]}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Where this was made" in (folder / "report.html").read_text(encoding="utf-8")
