"""Show what a run is doing: rules done, running, waiting, failed, and when it will have ended.

Reads: the newest log in .snakemake/log, the failed jobs' logs, `squeue` where there is one, and
workflow/profiles/costs.csv.
Writes: nothing; it prints. It may be called while a run is at work, on the head node or anywhere
that sees the folder.
Method: the expected end is that of the work left at the pace of the work done. A job's work is its
rule's measured seconds (the mean of all rules where it has none); of a running job that has been
done which its time covers.
"""

import csv
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

from quorum.command import make_parser, run_command
from quorum.errors import InputError
from quorum.run_log import Status, read_status

TAIL_LINES = 5
COSTS = Path(__file__).resolve().parents[1] / "workflow" / "profiles" / "costs.csv"


def report(status: Status, now_s: float, queue: dict, seconds: dict) -> list:
    """Return the lines to print.

    Parameters
    ----------
    status : Status
    now_s : float
        Seconds since the epoch.
    queue : dict or None
        State of each job that SLURM still knows, by its id; None where there is no SLURM.
    seconds : dict
        What a job of each rule takes.
    """
    queued = status.on_cluster(queue or {}, ("PENDING",))
    running = [job for job in status.running if job not in queued]
    begun = Counter(status.rules[job] for job in status.done | status.failed | set(running))
    waiting = Counter(status.planned) - begun
    lines = [
        f"done     {len(status.done)} of {status.num_steps}{named(status, status.done)}",
        f"running  {len(running)}{named(status, running)}",
        f"waiting  {waiting.total()}{f' ({len(queued)} in the queue of SLURM)' if queued else ''}"
        f"{as_words(waiting)}",
        f"failed   {len(status.failed)}{named(status, status.failed)}",
    ]
    if status.has_ended:
        return [*lines, "the run has ended"]
    if queue is not None and (lost := lost_jobs(status, queue)):
        lines.append(
            f"lost     {', '.join(lost)}: SLURM knows no more of it, and Snakemake waits; "
            "end the run with Ctrl-C and start it again"
        )
    left_s = seconds_left(status, now_s, running, seconds)
    if left_s is not None:
        end = time.localtime(now_s + left_s)
        lines.append(f"expected end {time.strftime('%Y-%m-%d %H:%M', end)}")
    return lines


def seconds_left(status: Status, now_s: float, running: list, seconds: dict) -> float | None:
    """Return the seconds until a run's expected end; None while nothing is known of its pace.

    Parameters
    ----------
    status : Status
    now_s : float
        Seconds since the epoch.
    running : list of str
        The jobs at work.
    seconds : dict
        What a job of each rule takes; empty: all take the same.
    """
    mean_s = sum(seconds.values()) / len(seconds) if seconds else 1.0
    work = {rule: seconds.get(rule, mean_s) for rule in {*status.planned, *status.rules.values()}}
    work["all"] = 0.0
    done = sum(work[status.rules[job]] for job in status.done)
    for job in running:
        done += min(work[status.rules[job]], now_s - status.started.get(job, now_s))
    whole = sum(work[rule] * num for rule, num in status.planned.items())
    if not done or not status.times:
        return None
    return (now_s - status.times[0]) * max(0.0, whole - done) / done


def read_seconds(path: Path) -> dict:
    """Return the mean seconds of a job of each rule from costs.csv; empty without the file."""
    if not path.is_file():
        return {}
    total_s, jobs = Counter(), Counter()
    with open(path, newline="") as stream:
        for row in csv.DictReader(stream):
            total_s[row["rule"]] += float(row["wall_s_per_item"]) * int(row["num_items"])
            jobs[row["rule"]] += int(row["num_jobs"])
    return {rule: total_s[rule] / num for rule, num in jobs.items()}


def lost_jobs(status: Status, queue: dict) -> list:
    """Return the jobs that the log holds for running and SLURM has forgotten, as `17 (rule)`.

    A controller that died within seconds of a submission forgets a job; so does one that keeps
    ended jobs for less time than Snakemake's pause between two looks.
    """
    lost = []
    for number, jobs in status.last_submissions().items():
        if number not in queue and jobs <= set(status.running):
            rules = ", ".join(sorted({status.rules[job] for job in jobs}))
            lost.append(f"{number} ({rules})")
    return lost


def named(status: Status, jobs) -> str:
    """Return the jobs' rules with their counts, such as `: extract_cubes 3, train_model 1`."""
    return as_words(Counter(status.rules[job] for job in jobs))


def as_words(counts: Counter) -> str:
    """Return counts of rules as words; empty where there are none."""
    words = ", ".join(f"{rule} {num}" for rule, num in sorted(counts.items()))
    return f": {words}" if words else ""


def tails(status: Status) -> list:
    """Return the last lines of each failed job's log."""
    lines = []
    for job in sorted(status.failed, key=int):
        path = Path(status.logs.get((status.rules[job], job), ""))
        lines.append(f"\n{status.rules[job]}: {path}")
        text = path.read_text(errors="replace") if path.is_file() else "(no log)"
        lines += [f"  {line}" for line in text.splitlines()[-TAIL_LINES:]]
    return lines


def slurm_queue() -> dict | None:
    """Return the state of each of the user's jobs by its id; None where no SLURM answers."""
    if shutil.which("squeue") is None:
        return None
    words = ["squeue", "-h", "-r", "--me", "--states=all", "-o", "%i|%T"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return None
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
    lines = report(status, time.time(), slurm_queue(), read_seconds(COSTS))
    print("\n".join([f"log      {logs[-1]}", *lines]))
    print("\n".join(tails(status)), end="")


if __name__ == "__main__":
    run_command(main)
