"""Show what a run is doing: rules done, running, waiting, failed, and when it will have ended.

Reads: the newest log in .snakemake/log, the failed jobs' logs, and `squeue` where there is one.
Writes: nothing; it prints. It may be called while a run is at work, on the head node or anywhere
that sees the folder.
Method: the expected end assumes that the steps left take as long as those done so far.
"""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from quorum.command import make_parser, run_command
from quorum.errors import InputError

TAIL_LINES = 5
STAMP = re.compile(r"^\s*\[(\w{3} \w{3} +\d+ [\d:]+ \d{4})\]")
RULE = re.compile(r"^\s*(?:local)?(?:rule|checkpoint) (\w+):$")
JOB = re.compile(r"^\s+jobid: (\d+)$")
LOG_FILE = re.compile(r"^\s+log: (\S+)")
FINISHED = re.compile(r"^Finished jobid: (\d+) ")
FAILED = re.compile(r"^\s*Error in rule (\w+):$")
STEPS = re.compile(r"^(\d+) of (\d+) steps")
TOTAL = re.compile(r"^total +(\d+)$")
SUBMITTED = re.compile(r"^Job (\S+) has been submitted with SLURM jobid (\w+)")
ENDS = ("Complete log", "Elapsed time")


@dataclass
class Status:
    """What a log tells: rules by job, the job's logs, and what became of each."""

    rules: dict = field(default_factory=dict)
    logs: dict = field(default_factory=dict)
    done: set = field(default_factory=set)
    failed: set = field(default_factory=set)
    slurm_jobs: list = field(default_factory=list)
    num_done: int = 0
    num_steps: int = 0
    times: list = field(default_factory=list)
    has_ended: bool = False

    @property
    def running(self) -> list:
        """The jobs that were started, or submitted, and neither ended nor failed."""
        return [job for job in self.rules if job not in self.done | self.failed]


def read_status(lines) -> Status:
    """Return what the lines of one of Snakemake's logs tell.

    Parameters
    ----------
    lines : iterable of str
        An empty log gives an empty status. A job that is started again counts as running.
    """
    status, rule, job, is_error = Status(), None, None, False
    for line in lines:
        line = line.rstrip("\n")
        if match := STAMP.match(line):
            status.times.append(datetime.strptime(match[1], "%a %b %d %H:%M:%S %Y").timestamp())
        elif match := RULE.match(line):
            rule, job, is_error = match[1], None, False
        elif match := FAILED.match(line):
            rule, job, is_error = match[1], None, True
        elif (match := JOB.match(line)) and rule:
            job = match[1]
            status.rules[job] = rule
            (status.failed.add if is_error else status.failed.discard)(job)
        elif match := FINISHED.match(line):
            status.done.add(match[1])
        elif match := STEPS.match(line):
            status.num_done, status.num_steps = int(match[1]), int(match[2])
        elif match := TOTAL.match(line):
            status.num_steps = int(match[1])
        elif match := SUBMITTED.match(line):
            status.slurm_jobs.append(match[2])
        read_log_path(status, line, rule, job)
        status.has_ended |= line.startswith(ENDS)
    return status


def read_log_path(status: Status, line: str, rule, job):
    """Keep the path of a rule's log, which stands before or after its job's number."""
    if match := LOG_FILE.match(line):
        status.logs[(rule, job)] = match[1]
    elif job and (rule, None) in status.logs:
        status.logs[(rule, job)] = status.logs.pop((rule, None))


def report(status: Status, now_s: float, queue: dict) -> list:
    """Return the lines to print.

    Parameters
    ----------
    status : Status
    now_s : float
        Seconds since the epoch.
    queue : dict
        State of each job that SLURM still knows, by its id.
    """
    waiting = status.num_steps - len(status.done) - len(status.running) - len(status.failed)
    lines = [
        f"done     {len(status.done)} of {status.num_steps}",
        f"running  {len(status.running)}{named(status, status.running)}",
        f"waiting  {max(waiting, 0)}",
        f"failed   {len(status.failed)}{named(status, sorted(status.failed))}",
    ]
    states = [queue[job] for job in status.slurm_jobs if job in queue]
    if states:
        counts = ", ".join(f"{states.count(name)} {name.lower()}" for name in sorted(set(states)))
        lines.append(f"SLURM    {counts}")
    if status.has_ended:
        lines.append("the run has ended")
    elif status.done and status.times:
        pace_s = (now_s - status.times[0]) / len(status.done)
        end_s = now_s + pace_s * (status.num_steps - len(status.done))
        lines.append(f"expected end {time.strftime('%Y-%m-%d %H:%M', time.localtime(end_s))}")
    return lines


def named(status: Status, jobs) -> str:
    """Return the jobs' rules with their counts, such as `: extract_cubes 3, train_model 1`."""
    rules = [status.rules[job] for job in jobs]
    counts = [f"{rule} {rules.count(rule)}" for rule in sorted(set(rules))]
    return f": {', '.join(counts)}" if counts else ""


def tails(status: Status) -> list:
    """Return the last lines of each failed job's log."""
    lines = []
    for job in sorted(status.failed, key=int):
        path = Path(status.logs.get((status.rules[job], job), ""))
        lines.append(f"\n{status.rules[job]}: {path}")
        text = path.read_text(errors="replace") if path.is_file() else "(no log)"
        lines += [f"  {line}" for line in text.splitlines()[-TAIL_LINES:]]
    return lines


def slurm_queue() -> dict:
    """Return the state of each of the user's jobs by its id; empty where there is no SLURM."""
    if shutil.which("squeue") is None:
        return {}
    words = ["squeue", "-h", "--me", "-o", "%i|%T"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    return dict(line.split("|") for line in done.stdout.splitlines())


def main(argv=None):
    """Read the newest log and print its status."""
    parser = make_parser(__doc__)
    parser.add_argument("--folder", default=".", type=Path, help="the run's folder (default: .)")
    args = parser.parse_args(argv)
    logs = sorted((args.folder / ".snakemake" / "log").glob("*.log"))
    if not logs:
        raise InputError(
            f"no run has been started in {args.folder.resolve()}",
            "a log of Snakemake in .snakemake/log",
            "start one with: make run",
        )
    with open(logs[-1], errors="replace") as stream:
        status = read_status(stream)
    print("\n".join([f"log      {logs[-1]}", *report(status, time.time(), slurm_queue())]))
    print("\n".join(tails(status)), end="")


if __name__ == "__main__":
    run_command(main)
