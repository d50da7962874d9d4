"""Show what a run is doing: rules done, running, waiting, failed, and when it will have ended.

Reads: the newest log in .snakemake/log, the failed jobs' logs, and `squeue` where there is one.
Writes: nothing; it prints. It may be called while a run is at work, on the head node or anywhere
that sees the folder.
Method: the expected end assumes that the steps left take as long as those done so far.
"""

import shutil
import subprocess
import time
from pathlib import Path

from quorum.command import make_parser, run_command
from quorum.errors import InputError
from quorum.run_log import Status, read_status

TAIL_LINES = 5


def report(status: Status, now_s: float, queue: dict) -> list:
    """Return the lines to print.

    Parameters
    ----------
    status : Status
    now_s : float
        Seconds since the epoch.
    queue : dict or None
        State of each job that SLURM still knows, by its id; None where there is no SLURM.
    """
    queued = status.on_cluster(queue or {}, ("PENDING",))
    running = [job for job in status.running if job not in queued]
    waiting = status.num_steps - len(status.done) - len(running) - len(status.failed)
    lines = [
        f"done     {len(status.done)} of {status.num_steps}",
        f"running  {len(running)}{named(status, running)}",
        f"waiting  {max(waiting, 0)}{f' ({len(queued)} in the queue of SLURM)' if queued else ''}",
        f"failed   {len(status.failed)}{named(status, sorted(status.failed))}",
    ]
    if status.has_ended:
        return [*lines, "the run has ended"]
    if queue is not None and (lost := lost_jobs(status, queue)):
        lines.append(
            f"lost     {', '.join(lost)}: SLURM knows no more of it, and Snakemake waits; "
            "end the run with Ctrl-C and start it again"
        )
    if status.done and status.times:
        pace_s = (now_s - status.times[0]) / len(status.done)
        end_s = now_s + pace_s * (status.num_steps - len(status.done))
        lines.append(f"expected end {time.strftime('%Y-%m-%d %H:%M', time.localtime(end_s))}")
    return lines


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
    print("\n".join([f"log      {logs[-1]}", *report(status, time.time(), slurm_queue())]))
    print("\n".join(tails(status)), end="")


if __name__ == "__main__":
    run_command(main)
