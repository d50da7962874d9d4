"""A real SLURM on this machine, for tests: munge, slurmctld and one slurmd a node, on loopback.

With accounting also slurmdbd on a MariaDB of its own, both in the cluster's folder.

Nodes are several slurmd of one machine (`NodeName=n1 NodeHostname=<host> Port=...`), which needs
Debian's `--enable-multiple-slurmd` build; with one node nothing special is needed. A GPU is
declared for scheduling only (`File=/dev/null`). The configuration is also linked at SLURM's own
place, because Snakemake's job step drops SLURM_CONF before it calls srun.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

from quorum.cluster import PROBE_NAME

DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo", "scontrol")
DATABASE_PROGRAMS = (*PROGRAMS, "slurmdbd", "sacct", "mariadbd", "mariadb-install-db")
CPUS, MEMORY_MB = 2, 8000
MARK = "quorum_slurm"  # in the name of each test cluster's folder

SLURM_CONF = """
ClusterName=quorumtest
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
{accounting_lines}
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=20
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=1
MpiDefault=none
GresTypes=gpu
NodeName={nodes} NodeHostname={host} NodeAddr=127.0.0.1 {ports} CPUs={cpus} RealMemory={memory} \
Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 State=UP
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""
WITHOUT_ACCOUNTING = "AccountingStorageType=accounting_storage/none"
WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge/socket"""
DATABASE_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={dbd_port}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql_port}
StorageUser=root
StorageLoc=slurm_acct_db
"""
ACCOUNT = "science"


def missing_reason(programs: tuple = PROGRAMS) -> str:
    """Return why no cluster can be started here, or an empty text when it can."""
    if os.geteuid() != 0:
        return "a test cluster needs root"
    lacking = [name for name in programs if shutil.which(name, path=search_path()) is None]
    if lacking:
        return f"not installed: {', '.join(lacking)}"
    if DEFAULT_CONF.exists() and not is_ours():
        return f"this machine belongs to a cluster ({DEFAULT_CONF})"
    return ""


def is_ours() -> bool:
    """Tell whether SLURM's configuration is a link that a test cluster made, dead or alive."""
    return DEFAULT_CONF.is_symlink() and MARK in str(DEFAULT_CONF.readlink())


def search_path() -> str:
    """Return PATH with the folders of daemons."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """A running cluster in its own folder; use `start_cluster`."""

    def __init__(self, folder: Path, num_nodes: int = 1, has_accounting: bool = False):
        self.folder, self.num_nodes = Path(folder), num_nodes
        self.host = socket.gethostname().split(".")[0]
        self.processes: dict[str, subprocess.Popen] = {}
        self.ctld_port, self.slurmd_port = free_port(), free_port()
        self.dbd_port = free_port() if has_accounting else None
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": search_path(),
        }

    @property
    def nodes(self) -> list[str]:
        """The nodes' names."""
        return [f"node{number}" for number in range(1, self.num_nodes + 1)]

    def write_files(self):
        """Write slurm.conf, gres.conf and munge's key."""
        for name in ("state", "munge"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        last = self.slurmd_port + self.num_nodes - 1
        several = f"[{self.slurmd_port}-{last}]"
        ports = f"Port={several if self.num_nodes > 1 else self.slurmd_port}"
        text = SLURM_CONF.format(
            host=self.host,
            folder=self.folder,
            ctld_port=self.ctld_port,
            slurmd_port=self.slurmd_port,
            accounting_lines=WITH_ACCOUNTING.format(port=self.dbd_port, folder=self.folder)
            if self.dbd_port
            else WITHOUT_ACCOUNTING,
            nodes="node1" if self.num_nodes == 1 else f"node[1-{self.num_nodes}]",
            ports=ports,
            cpus=CPUS,
            memory=MEMORY_MB,
        )
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("Name=gpu Count=1 File=/dev/null\n")
        key = self.folder / "munge" / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        (self.folder / "munge").chmod(0o711)

    def link_files(self):
        """Put the configuration where SLURM looks by itself."""
        DEFAULT_CONF.parent.mkdir(parents=True, exist_ok=True)
        for name in ("slurm.conf", "gres.conf"):
            place = DEFAULT_CONF.with_name(name)
            place.unlink(missing_ok=True)
            place.symlink_to(self.folder / name)

    def unlink_files(self):
        """Take the links away, where they are still this cluster's."""
        for name in ("slurm.conf", "gres.conf"):
            place = DEFAULT_CONF.with_name(name)
            if place.is_symlink() and place.readlink() == self.folder / name:
                place.unlink()

    def spawn(self, name: str, *words: str):
        """Start a daemon in the foreground of its own process group."""
        with open(self.folder / f"{name}.out", "ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=log, env=self.environment, start_new_session=True
            )

    def start_munge(self):
        """Start munge with a socket of its own."""
        folder = self.folder / "munge"
        words = ["munged", "--foreground", "--force", f"--key-file={folder}/munge.key"]
        words += [f"--socket={folder}/socket", f"--pid-file={folder}/munged.pid"]
        words += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
        self.spawn("munged", *words)
        wait_for(lambda: (folder / "socket").exists(), 20, "munge did not start")

    def start_database(self):
        """Start MariaDB and slurmdbd, and tell them of the cluster, an account and its user."""
        data, sql_port = self.folder / "mariadb", free_port()
        words = ["--no-defaults", "--user=root", f"--datadir={data}"]
        self.run("mariadb-install-db", *words, "--skip-test-db", timeout_s=120)
        words += [f"--port={sql_port}", "--bind-address=127.0.0.1", "--skip-grant-tables"]
        words += [f"--socket={data}/socket", f"--pid-file={data}/pid"]
        self.spawn("mariadbd", "mariadbd", *words)
        wait_for((data / "socket").exists, 60, f"MariaDB did not start; see {self.folder}")
        conf = self.folder / "slurmdbd.conf"
        conf.write_text(
            DATABASE_CONF.format(
                folder=self.folder, host=self.host, dbd_port=self.dbd_port, sql_port=sql_port
            )
        )
        conf.chmod(0o600)
        self.spawn("slurmdbd", "slurmdbd", "-D")

        def has_answered():
            words = ("sacctmgr", "-i", "add", "cluster", "quorumtest")
            return self.run(*words, check=False).returncode == 0

        wait_for(has_answered, 60, f"slurmdbd did not start; see {self.folder}")
        self.run("sacctmgr", "-i", "add", "account", ACCOUNT)
        self.run("sacctmgr", "-i", "add", "user", "root", f"account={ACCOUNT}")
        words = ("modify", "user", "where", "name=root", "set", f"DefaultAccount={ACCOUNT}")
        self.run("sacctmgr", "-i", *words)

    def start_controller(self):
        """Start slurmctld."""
        self.spawn("slurmctld", "slurmctld", "-D", "-i")

    def start_node(self, node: str, hidden: Path | None = None):
        """Start one slurmd; the folder `hidden` is empty for it and its jobs."""
        words = ["slurmd", "-D", "-N", node]
        if hidden:
            script = 'mount -t tmpfs none "$0" && exec "$@"'
            words = ["unshare", "--mount", "sh", "-c", script, str(hidden), *words]
        self.spawn(node, *words)

    def crash_node(self, node: str):
        """End a node's slurmd and all that its jobs do, as when its power goes."""
        ids = self.run("squeue", "-h", "-w", node, "-o", "%A").stdout.split()
        self.kill(node)
        for process in psutil.process_iter():
            # A process may end while it is looked at.
            with contextlib.suppress(psutil.Error):
                title = " ".join(process.cmdline())
                if title.startswith(tuple(f"slurmstepd: [{job}." for job in ids)):
                    for child in (*process.children(recursive=True), process):
                        child.kill()

    def start(self):
        """Start everything; return when all nodes are idle."""
        self.write_files()
        self.link_files()
        self.start_munge()
        if self.dbd_port:
            self.start_database()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        wait_for(self.is_ready, 60, f"the cluster did not get ready; see {self.folder}")

    def is_ready(self) -> bool:
        """Tell whether all nodes are idle or at work."""
        states = self.run("sinfo", "-h", "-N", "-o", "%N %t", check=False).stdout.split("\n")
        good = {line.split()[0] for line in states if line and line.split()[1] in ("idle", "mix")}
        return good == set(self.nodes)

    def run(self, *words: str, check: bool = True, timeout_s: float = 60):
        """Run a command of SLURM against this cluster."""
        return subprocess.run(
            words,
            env=self.environment,
            capture_output=True,
            text=True,
            check=check,
            timeout=timeout_s,
        )

    def jobs(self) -> list[list[str]]:
        """Return id, name, state and partition of every job of a run that squeue shows."""
        lines = self.run("squeue", "-h", "--states=all", "-o", "%i|%j|%T|%P").stdout.splitlines()
        rows = [line.split("|") for line in lines]
        return [row for row in rows if row[1] != PROBE_NAME]

    def log_of(self, node: str) -> str:
        """Return what the slurmd of a node has logged."""
        return (self.folder / f"slurmd.{node}.log").read_text()

    def kill(self, name: str):
        """End one daemon and what it started, with SIGKILL."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self, name: str):
        """End one daemon as a site does that restarts it."""
        process = self.processes.pop(name)
        process.terminate()
        process.wait()

    def stop(self):
        """Cancel all jobs and end every daemon."""
        with contextlib.suppress(subprocess.SubprocessError, OSError):
            self.run("scancel", "--user=root", check=False, timeout_s=20)
            time.sleep(1)
        for name in list(self.processes):
            self.kill(name)
        self.unlink_files()


def free_port() -> int:
    """Return a port of loopback that nobody listens on now, with room for more above it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, timeout_s: float, what: str):
    """Return when `condition()` holds; raise RuntimeError with `what` after the time-out."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.3)
    raise RuntimeError(what)


@contextlib.contextmanager
def start_cluster(folder: Path, num_nodes: int = 1, has_accounting: bool = False):
    """Run a cluster while the block runs; another one of this machine is waited for."""
    cluster = Cluster(folder, num_nodes, has_accounting)
    with open("/var/lock/quorum_slurm", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
