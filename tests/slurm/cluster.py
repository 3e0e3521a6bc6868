"""SLURM on this one machine, for tests: several slurmd of which each takes itself for a node. Debian, as root.

`python tests/slurm/cluster.py install` gets the packages; `up FOLDER` and `down FOLDER` start and end a cluster whose
every file is in FOLDER, but for a link to its configuration where SLURM looks for it: Snakemake's jobs forget
SLURM_CONF. A machine with a SLURM of its own is left alone, and no service is started.

Nothing keeps jobs apart from one another (no cgroups): it schedules, sets the environment, and kills, as SLURM does.
Its GPUs are none: device nodes like /dev/null, so that a job is told of them. There is no accounting database: `sacct`
knows nothing, and Snakemake is to ask `squeue` (`--slurm-status-command squeue`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
STANDARD = Path("/etc/slurm/slurm.conf")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# There is no systemd and there are no cgroups.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0
# Tests wait for an end: shortly.
KillWait=3
MinJobAge=600
ReturnToService=2
DefMemPerCPU=500
GresTypes=gpu
NodeName=DEFAULT CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=01:00:00 State=UP
"""


def install() -> None:
    """Get the packages that are missing; their services are not started. Raises CalledProcessError without apt."""
    if all(shutil.which(program, path=PATH) for program in ("munged", "slurmctld", "slurmd", "srun")):
        return
    # Where there is no init, RUNLEVEL keeps the packages' scripts from starting what they bring.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        subprocess.run([*apt, *command], env=environment, check=True, stdout=subprocess.DEVNULL)


def up(folder: Path, nodes: int = 2, cpus: int = 8, memory: int = 256000, gpus: int = 8) -> None:
    """Start a cluster of nodes n1, n2, ... with so many CPUs, MB and GPUs each, whether the machine has them or not.

    Raises FileExistsError where there is one already.
    """
    folder = folder.resolve()
    if not STANDARD.exists():
        STANDARD.unlink(missing_ok=True)  # a link to a folder that is gone
    STANDARD.parent.mkdir(parents=True, exist_ok=True)
    STANDARD.symlink_to(folder / "slurm.conf")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munge's clients must reach its socket, and it refuses a folder that others may write to
    _munge(folder)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    controller, *ports = _free_ports(nodes + 1)
    host = socket.gethostname().split(".")[0]
    lines = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
        for name, port in zip(names, ports, strict=True)
    )
    values = {"host": host, "controller": controller, "folder": folder, "nodes": lines}
    (folder / "slurm.conf").write_text(CONF.format(**values, cpus=cpus, memory=memory, gpus=gpus))
    devices = [folder / f"gpu{number}" for number in range(gpus)]
    for device in devices:
        if not device.exists():
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    gres = [f"NodeName=n[1-{nodes}] Name=gpu File={device} Flags=nvidia_gpu_env\n" for device in devices]
    (folder / "gres.conf").write_text("".join(gres))
    _start(folder, "slurmctld", "-D", "-i")
    for name in names:
        (folder / "spool" / name).mkdir(exist_ok=True)
        _start(folder, "slurmd", "-D", "-N", name)
    _wait(lambda: _idle(folder) == nodes, 60, f"idle nodes; see the logs in {folder}")


def down(folder: Path) -> None:
    """End every job and every process that `up` started; a cluster that is down already, or half up, is no error."""
    folder = folder.resolve()
    if (folder / "slurmctld.pid").exists():
        with suppress(subprocess.SubprocessError):
            command(folder, "scancel", "--full", "--user", "root", timeout=20)
            _wait(lambda: not command(folder, "squeue", "--noheader", timeout=20), 20, "the end of the jobs")
    numbers = folder / "processes"
    for number in reversed(numbers.read_text().split() if numbers.exists() else []):
        _end(int(number))
    numbers.unlink(missing_ok=True)
    if STANDARD.is_symlink() and STANDARD.readlink() == folder / "slurm.conf":
        STANDARD.unlink()


def command(folder: Path, *words: str, timeout: float = 60) -> str:
    """What one of SLURM's commands says of this cluster. Raises CalledProcessError where it fails."""
    done = subprocess.run(words, env=environment(folder), text=True, capture_output=True, check=True, timeout=timeout)
    return done.stdout.strip()


def environment(folder: Path) -> dict[str, str]:
    """The environment in which SLURM's commands mean this cluster."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SRUN"))}
    return {**inherited, "SLURM_CONF": str(folder.resolve() / "slurm.conf")}


def _munge(folder: Path) -> None:
    key = folder / "munge.key"
    if not key.exists():
        key.touch(0o600)
        key.write_bytes(os.urandom(128))
    files = {"key-file": key.name, "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    options = [f"--{option}={folder / name}" for option, name in files.items()]
    _start(folder, "munged", "--foreground", "--force", f"--log-file={folder / 'munge.log'}", *options)
    _wait((folder / "munge.socket").exists, 20, "munge's socket")


def _start(folder: Path, program: str, *options: str) -> None:
    """Start a program of the cluster in the background and note its number."""
    words = [shutil.which(program, path=PATH) or program, *options]
    with (folder / f"{program}.out").open("ab") as out:
        process = subprocess.Popen(
            words, env=environment(folder), start_new_session=True, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    with (folder / "processes").open("a") as numbers:
        numbers.write(f"{process.pid}\n")


def _idle(folder: Path) -> int:
    with suppress(subprocess.SubprocessError):
        return len(command(folder, "sinfo", "--noheader", "--Node", "--states=idle", timeout=10).splitlines())
    return 0


def _end(number: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(number, signal.SIGTERM)
        for _ in range(100):
            with suppress(ChildProcessError):
                os.waitpid(number, os.WNOHANG)
            os.kill(number, 0)
            time.sleep(0.1)
        os.kill(number, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} seconds")
        time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("install", "up", "down"))
    parser.add_argument("folder", type=Path, nargs="?")
    options = parser.parse_args()
    if options.action == "install":
        install()
        return
    if options.folder is None:
        sys.exit("name the cluster's folder")
    if options.action == "down":
        down(options.folder)
        return
    try:
        up(options.folder)
    except BaseException:
        down(options.folder)
        raise


if __name__ == "__main__":
    main()
