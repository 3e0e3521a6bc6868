"""SLURM on this one machine, for tests: several slurmd of which each takes itself for a node. Debian, as root.

`python tests/slurm/cluster.py install` gets the packages; `up FOLDER` and `down FOLDER` start and end a cluster whose
every file is in FOLDER, but for a link to its configuration where SLURM looks for it: Snakemake's jobs forget
SLURM_CONF. A machine with a SLURM of its own is left alone, and no service is started.

Nothing keeps jobs apart from one another (no cgroups): it schedules, sets the environment, and kills, as SLURM does.
But a node has one core of the machine, whatever it says. Its GPUs are none: device nodes like /dev/null, so that a job
is told of them. Accounting is real, slurmdbd on a MariaDB of its own: `sacct` answers, as the profile expects.
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

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client", "slurmdbd", "slurm-wlm-mysql-plugin")
DATABASE = ("mariadb-server-core", "mariadb-client-core")
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "slurmdbd", "mariadbd", "mariadb-install-db", "mariadb")
STANDARD = Path("/etc/slurm/slurm.conf")
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
HANG = 3600.0  # seconds: a guard alone, for no machine is that slow
ATTEMPT = 60.0  # seconds for a command that is asked again, since it may hang where its daemon is not there yet

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
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting}
# Here this is no password but the socket of munge.
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
# Snakemake writes a job's rule into its comment.
AccountingStoreFlags=job_comment
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
NodeName=DEFAULT CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} Feature=large State=UNKNOWN
{nodes}
PartitionName=DEFAULT Nodes=ALL MaxTime=INFINITE DefaultTime=01:00:00 State=UP
PartitionName=test Default=YES PriorityTier=1
# Its jobs drive those of the other one back into the queue.
PartitionName=urgent PriorityTier=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""

ACCOUNTING = """\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={accounting}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=test
StorageLoc=slurm_acct_db
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
"""

TABLES = (
    "create database if not exists slurm_acct_db; create user if not exists slurm@localhost identified by 'test'; "
    "grant all on slurm_acct_db.* to slurm@localhost"
)


def install() -> None:
    """Get the packages that are missing; their services are not started. Raises CalledProcessError without apt."""
    plugin = any(Path("/usr/lib").glob("*/slurm*/accounting_storage_mysql.so"))
    if plugin and all(shutil.which(program, path=PATH) for program in PROGRAMS):
        return
    # Where there is no init, RUNLEVEL keeps the packages' scripts from starting what they bring.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=3600"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES, *DATABASE]):
        subprocess.run([*apt, *command], env=environment, check=True, stdout=subprocess.DEVNULL)


def up(folder: Path, nodes: int = 2, cpus: int = 8, memory: int = 256000, gpus: int = 8) -> None:
    """Start a cluster of nodes n1, n2, ... with so many CPUs, MB and GPUs each, whether the machine has them or not.

    Raises FileExistsError where there is one already.
    """
    folder = folder.resolve()
    if STANDARD.is_symlink() and not _alive(STANDARD.readlink().parent):
        STANDARD.unlink()  # what a killed run has left
    STANDARD.parent.mkdir(parents=True, exist_ok=True)
    STANDARD.symlink_to(folder / "slurm.conf")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # munge's clients must reach its socket, and it refuses a folder that others may write to
    _munge(folder)
    names = [f"n{number}" for number in range(1, nodes + 1)]
    controller, accounting, *ports = _free_ports(nodes + 2)
    host = socket.gethostname().split(".")[0]
    lines = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
        for name, port in zip(names, ports, strict=True)
    )
    values = {"host": host, "controller": controller, "accounting": accounting, "folder": folder, "nodes": lines}
    (folder / "slurm.conf").write_text(CONF.format(**values, cpus=cpus, memory=memory, gpus=gpus))
    devices = [folder / f"gpu{number}" for number in range(gpus)]
    for device in devices:
        if not device.exists():
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    gres = [f"NodeName=n[1-{nodes}] Name=gpu File={device} Flags=nvidia_gpu_env\n" for device in devices]
    (folder / "gres.conf").write_text("".join(gres))
    _accounting(folder, accounting)
    _start(folder, "slurmctld", "-D", "-i")
    for name in names:
        (folder / "spool" / name).mkdir(exist_ok=True)
        _start_node(folder, name)
    _wait(lambda: _idle(folder) == nodes, f"idle nodes; see the logs in {folder}")


def lose(folder: Path, node: str, crash: bool) -> None:
    """Take a node away from the cluster, which is told so.

    A crash ends all that runs on it, as a power cut does. Else it is cut off: its slurmd is gone and its jobs are taken
    for dead, and yet their processes live on.
    """
    _kill([_slurmd(folder, node)])
    if crash:
        ended = tasks(node)
        _kill([*{parent for task in ended if (parent := _keeper(task))}, *ended])
    command(folder, "scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")


def restore(folder: Path, node: str) -> None:
    """Start the node's slurmd again; the cluster takes it back. What is still there of lost jobs is ended by SLURM."""
    _start_node(folder, node)
    with suppress(subprocess.CalledProcessError):  # it is back already
        command(folder, "scontrol", "update", f"NodeName={node}", "State=RESUME")
    up = "--states=idle,alloc,mix"
    _wait(lambda: command(folder, "sinfo", "-h", "-N", up, f"--nodes={node}") != "", f"the return of {node}")


def down(folder: Path) -> None:
    """End every job and every process that `up` started; a cluster that is down already, or half up, is no error."""
    folder = folder.resolve()
    if (folder / "slurmctld.pid").exists():
        with suppress(subprocess.SubprocessError):
            command(folder, "scancel", "--full", "--user", "root")
            _wait(lambda: not command(folder, "squeue", "--noheader"), "the end of the jobs")
    numbers = folder / "processes"
    for number in reversed(numbers.read_text().split() if numbers.exists() else []):
        _end(int(number))
    numbers.unlink(missing_ok=True)
    if STANDARD.is_symlink() and STANDARD.readlink() == folder / "slurm.conf":
        STANDARD.unlink()


def command(folder: Path, *words: str, timeout: float = HANG) -> str:
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
    _wait((folder / "munge.socket").exists, "munge's socket")


def _accounting(folder: Path, port: int) -> None:
    """Start a database and the daemon before it, and enter the cluster and its user, root."""
    (folder / "slurmdbd.conf").write_text(ACCOUNTING.format(folder=folder, accounting=port))
    (folder / "slurmdbd.conf").chmod(0o600)
    data, socket_ = folder / "mysql", folder / "mysql.socket"
    user = ("--no-defaults", "--user=root")
    if not data.exists():
        install = ["mariadb-install-db", *user, f"--datadir={data}", "--skip-test-db"]
        command(folder, *install, "--auth-root-authentication-method=normal")
    options = [f"--datadir={data}", f"--socket={socket_}", f"--pid-file={folder}/mysql.pid", "--skip-networking"]
    options += ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"]
    _start(folder, "mariadbd", *user, *options)
    client = ("mariadb", "--no-defaults", f"--socket={socket_}", "--user=root")
    _wait(lambda: _works(folder, *client, "--execute=select 1"), f"the database; see {folder}/mariadbd.out")
    command(folder, *client, f"--execute={TABLES}")
    _start(folder, "slurmdbd", "-D", MYSQL_UNIX_PORT=str(socket_))
    _wait(lambda: _works(folder, "sacctmgr", "-n", "show", "cluster"), f"slurmdbd; see {folder}/slurmdbd.log")
    for words in (("cluster", "test"), ("account", "main", "Cluster=test"), ("user", "root", "Account=main")):
        with suppress(subprocess.CalledProcessError):  # it is there already
            command(folder, "sacctmgr", "-i", "add", *words)


def _alive(folder: Path) -> bool:
    """Does a process that `up` started in this folder live?"""
    numbers = folder / "processes"
    for number in numbers.read_text().split() if numbers.exists() else []:
        with suppress(OSError):
            if os.fsencode(folder) in Path(f"/proc/{number}/environ").read_bytes():
                return True
    return False


def _works(folder: Path, *words: str) -> bool:
    with suppress(subprocess.SubprocessError):
        command(folder, *words, timeout=ATTEMPT)
        return True
    return False


def _slurmd(folder: Path, node: str) -> int:
    """The number of a node's slurmd."""
    for number in (folder / "processes").read_text().split():
        with suppress(OSError):
            words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"slurmd") and node.encode() in words:
                return int(number)
    raise ProcessLookupError(f"{node} has no slurmd")


def tasks(node: str) -> list[int]:
    """The processes of all jobs on a node."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"SLURMD_NODENAME={node}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _keeper(task: int) -> int | None:
    """The slurmstepd above a task, where that is its parent."""
    with suppress(OSError):
        parent = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
        if "slurmstepd" in Path(f"/proc/{parent}/comm").read_text():
            return parent
    return None


def _kill(processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _start_node(folder: Path, node: str) -> None:
    """Start a node's slurmd on one core of the machine, by turns, and with it all jobs that the node will have.

    Jobs that each ran as many threads as there are cores would wait for one another: ten times slower.
    """
    inherited = os.sched_getaffinity(0)
    cores = sorted(inherited)
    os.sched_setaffinity(0, {cores[int(node.removeprefix("n")) % len(cores)]})
    try:
        _start(folder, "slurmd", "-D", "-N", node)
    finally:
        os.sched_setaffinity(0, inherited)


def _start(folder: Path, program: str, *options: str, **variables: str) -> None:
    """Start a program of the cluster in the background and note its number."""
    words = [shutil.which(program, path=PATH) or program, *options]
    with (folder / f"{program}.out").open("ab") as out:
        process = subprocess.Popen(
            words,
            env=environment(folder) | variables,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    with (folder / "processes").open("a") as numbers:
        numbers.write(f"{process.pid}\n")


def _idle(folder: Path) -> int:
    with suppress(subprocess.SubprocessError):
        rows = command(folder, "sinfo", "--noheader", "--Node", "--states=idle", "--format=%N", timeout=ATTEMPT)
        return len(set(rows.split()))  # a node stands there once a partition
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


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + HANG
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"hangs while waiting for {what}")
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
