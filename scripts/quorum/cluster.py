"""Whether a SLURM cluster can take what a run is about to submit: asked before the first job.

SLURM leaves a job that can never start in the queue, or refuses the first of many; here each such
case ends in one sentence. Called when a run starts; nothing is imported that Snakemake lacks.
"""

import logging
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from quorum.errors import InputError

LOG = logging.getLogger("quorum")
PROFILE = "workflow/profiles/slurm/config.yaml"
COMMANDS = ("sbatch", "srun", "sinfo", "squeue", "scancel")
# Jobs' states are asked for at least every 180 s (the executor's longest pause), and some more.
MIN_JOB_AGE_S = 200
# How long the look through a node's eyes waits for a free node [s].
PROBE_WAIT_S = 20
PROBE_NAME = "quorum_probe"
GPU = re.compile(r"\bgpu(?::[^:(,]*[^:(,\d][^:(,]*)?:(\d+)")


@dataclass(frozen=True)
class Node:
    """One node of one partition, as `sinfo` prints it; sizes in MB and minutes."""

    partition: str
    is_default: bool
    num_cpus: int
    memory_mb: int
    num_gpus: int
    limit_min: float


@dataclass(frozen=True)
class Request:
    """What one submitted job asks for on each of its nodes."""

    rule: str
    partition: str | None
    memory_mb: int
    runtime_min: int
    threads: int
    num_gpus: int


def refuse_bad_cluster(workflow, results: str):
    """Raise an InputError when the executor's machines can't run this workflow.

    Parameters
    ----------
    workflow : snakemake.workflow.Workflow
        With its DAG; only jobs that are about to be submitted are looked at.
    results : str
        The results folder.
    """
    refuse_lost_looks(workflow)
    if workflow.executor_plugin.name != "slurm":
        return
    refuse_missing_commands()
    refuse_left_jobs(ask_slurm("squeue", "-h", "--me", "-o", "%i|%Z"), Path.cwd())
    refuse_blind_status(workflow.executor_settings.status_command)
    nodes = parse_nodes(ask_slurm("sinfo", "-h", "-N", "-o", "%P|%c|%m|%G|%l"))
    jobs = [job for job in workflow.dag.needrun_jobs() if not workflow.is_local(job.rule)]
    for request in sorted(set(requests_of(jobs)), key=lambda request: request.rule):
        refuse_request(request, nodes)
    if jobs:
        refuse_unseen_folder(results, jobs[0].resources)


def refuse_lost_looks(workflow):
    """Raise an InputError when jobs that share no disk would look at the locked test part."""
    shared = workflow.storage_settings.shared_fs_usage
    is_shared = "INPUT_OUTPUT" in {usage.name for usage in shared}
    if workflow.globals["config"]["compare_with_readers"]["opens_test_part"] and not is_shared:
        raise InputError(
            "compare_with_readers.opens_test_part is true and the jobs share no disk: a look at "
            "the test part would leave no trace in results/freeze_plan/looks",
            "a shared disk where the test part is opened",
            "make the models here, then open it with: make run, without the profile",
        )


def refuse_missing_commands():
    """Raise an InputError when this machine has no SLURM."""
    lacking = [name for name in COMMANDS if shutil.which(name) is None]
    if lacking:
        raise InputError(
            f"the SLURM command {lacking[0]} is not on this machine",
            "a machine from which jobs can be submitted",
            "log in to the cluster's head node, or run without the profile: make run",
        )


def ask_slurm(*words: str) -> str:
    """Return what a command of SLURM prints.

    Raises
    ------
    InputError
        When it fails or does not answer within a minute.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        reason = (done.stderr.strip().splitlines() or [""])[-1]
    except subprocess.TimeoutExpired:
        done, reason = None, "no answer within 60 s"
    if done is None or done.returncode:
        raise InputError(
            f"SLURM does not answer to {words[0]} ({reason})",
            "a cluster at work",
            "ask the site whether it is down, or try again later",
        )
    return done.stdout


def refuse_blind_status(command: str):
    """Raise an InputError when the end of a job would never be seen.

    Parameters
    ----------
    command : str
        `sacct`, which needs accounting, or `squeue`, which forgets ended jobs after MinJobAge.
    """
    if command == "sacct":
        words = ["sacct", "-n", "-X", "--starttime", "now"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(
                f"the cluster keeps no accounts of its jobs (sacct: {reason})",
                "a way to see that a job has ended",
                f"take `slurm-status-command: squeue` and `slurm-no-account: true` in {PROFILE}",
            )
        return
    config = ask_slurm("scontrol", "show", "config")
    age = re.search(r"^MinJobAge\s*=\s*(\d+)", config, re.M)
    if age and int(age[1]) < MIN_JOB_AGE_S:
        raise InputError(
            f"SLURM forgets a job {age[1]} s after its end, and squeue shows no end after that",
            f"MinJobAge of at least {MIN_JOB_AGE_S} s, or accounting",
            f"take sacct in {PROFILE}, or ask the site for a longer MinJobAge",
        )


def refuse_left_jobs(text: str, folder: Path):
    """Raise an InputError when jobs of an earlier run still work in `folder`.

    Parameters
    ----------
    text : str
        What `squeue -h --me -o %i|%Z` prints: each job's id and working folder.
    """
    rows = [line.split("|", 1) for line in text.splitlines()]
    left = [job for job, place in rows if Path(place) == folder]
    if left:
        raise InputError(
            f"{len(left)} SLURM jobs of an earlier run are still at work in {folder}",
            "no other job that writes there",
            f"wait until they have ended, or end them with: scancel {' '.join(left)}",
        )


def parse_nodes(text: str) -> list:
    """Return the nodes that `sinfo -h -N -o %P|%c|%m|%G|%l` prints, one a partition and node."""
    nodes = []
    for line in text.splitlines():
        name, cpus, memory, gres, limit = line.split("|")
        nodes.append(
            Node(
                partition=name.rstrip("*"),
                is_default=name.endswith("*"),
                num_cpus=int(cpus.rstrip("+")),
                memory_mb=int(memory.rstrip("+")),
                num_gpus=sum(int(count) for count in GPU.findall(gres)),
                limit_min=parse_limit(limit),
            )
        )
    return nodes


def parse_limit(text: str) -> float:
    """Return a time limit `[days-][[hours:]minutes:]seconds` or `infinite` in minutes."""
    if text in ("infinite", "n/a"):
        return float("inf")
    days, _, clock = text.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return int(days or 0) * 1440 + seconds / 60


def requests_of(jobs) -> list:
    """Return one request a job; jobs of one group follow each other in one allocation."""
    together = defaultdict(list)
    for job in jobs:
        together[job.group or id(job)].append(job)
    found = []
    for members in together.values():
        lead = max(members, key=lambda job: job.resources.get("mem_mb", 0))
        found.append(
            Request(
                rule=lead.rule.name,
                partition=lead.resources.get("slurm_partition"),
                memory_mb=lead.resources.get("mem_mb", 0),
                runtime_min=sum(job.resources.get("runtime", 0) for job in members),
                threads=max(job.threads for job in members),
                num_gpus=gpus_of(lead.resources),
            )
        )
    return found


def gpus_of(resources) -> int:
    """Return how many GPUs a job asks for on a node, by `gpu` or by `gres`."""
    gres = str(resources.get("gres", ""))
    by_gres = sum(int(count) for count in GPU.findall(gres)) or int(gres == "gpu")
    return max(resources.get("gpu", 0) or 0, by_gres)


def refuse_request(request: Request, nodes: list):
    """Raise an InputError when no node of the partition can ever run the request."""
    names = sorted({node.partition for node in nodes})
    if request.partition is None:
        inside = [node for node in nodes if node.is_default]
        if not inside:
            refuse(request, "has no partition, and the cluster no default one", names)
    else:
        inside = [node for node in nodes if node.partition == request.partition]
        if not inside:
            refuse(request, f"names the unknown partition {request.partition!r}", names)
    if request.num_gpus and not any(node.num_gpus for node in nodes):
        raise InputError(
            f"the rule {request.rule} asks for {request.num_gpus} GPU and no node has one",
            "a cluster with GPUs, declared as Gres=gpu:N",
            f"set `gpu: 0` and a partition of CPUs for this rule in {PROFILE}",
        )
    place = inside[0].partition
    for unit, asked, sizes in (
        ("GPUs", request.num_gpus, [node.num_gpus for node in inside]),
        ("MB of memory", request.memory_mb, [node.memory_mb for node in inside]),
        ("CPUs", request.threads, [node.num_cpus for node in inside]),
        ("minutes", request.runtime_min, [node.limit_min for node in inside]),
    ):
        if asked > max(sizes):
            raise InputError(
                f"the rule {request.rule} asks for {asked} {unit} and the partition {place} "
                f"gives at most {max(sizes):g}",
                "a partition whose largest node and time limit fit",
                f"name another partition or a smaller amount for this rule in {PROFILE}",
            )


def refuse(request: Request, what: str, names: list):
    """Raise an InputError about a partition, naming those that exist."""
    raise InputError(
        f"the rule {request.rule} {what}",
        f"one of: {', '.join(names)}",
        f"set slurm_partition in {PROFILE}",
    )


def refuse_unseen_folder(results: str, resources):
    """Raise an InputError when a node does not see the folders; say so where none is free."""
    folder = Path(results).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    flags = {"slurm_partition": "-p", "slurm_account": "-A", "qos": "-q"}
    words = ["srun", "-J", PROBE_NAME, "-N1", "-n1", "--mem=50", "--time=1"]
    words += [f"--immediate={PROBE_WAIT_S}"]
    words += [part for key, flag in flags.items() for part in probe_flag(resources, key, flag)]
    look = 'for folder; do test -d "$folder" || { echo "unseen:$folder"; exit; }; done; echo seen'
    words += ["-D", "/", "sh", "-c", look, "sh", str(Path.cwd()), str(folder)]
    try:
        limit_s = PROBE_WAIT_S + 20
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)
        answer = done.stdout.strip()
    except subprocess.TimeoutExpired:
        answer = ""
    if answer.startswith("unseen:"):
        raise InputError(
            f"a node does not see the folder {answer.removeprefix('unseen:')}",
            "a folder on a file system that the head node and all nodes share",
            "start from there, and let pathvars.results name a folder there",
        )
    if answer != "seen":
        LOG.warning("no node was free to tell whether it sees the folder %s", folder)


def probe_flag(resources, key: str, flag: str) -> list:
    """Return a flag of srun with the job's value, nothing where it has none."""
    value = resources.get(key)
    return [flag, str(value)] if value else []
