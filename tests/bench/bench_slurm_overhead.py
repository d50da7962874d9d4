"""What SLURM adds: the tiny run local and on a one-node cluster, by turns on the same machine.

Prints the wall time of each, the jobs submitted, and what a submitted job costs besides its work.
Needs root and Debian's SLURM packages, as the tests do.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "slurm"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from slurm_cluster import MARK, missing_reason, start_cluster
from slurm_runs import fresh_project, submit
from workflow_copy import snakemake

ORDER = ("local", "slurm", "slurm", "local")
LOCAL = ("--configfile", "config/tiny.yaml", "--cores", "2")


def main():
    """Run in the order of ORDER and print seconds, jobs and the difference for each job."""
    reason = missing_reason()
    if reason:
        sys.exit(reason)
    seconds, jobs = {"local": [], "slurm": []}, 0
    with tempfile.TemporaryDirectory(prefix=MARK) as temporary:
        for turn, kind in enumerate(ORDER):
            project = fresh_project(Path(temporary, f"project{turn}"))
            if kind == "local":
                took_s, result = timed(lambda: snakemake(project, *LOCAL))  # noqa: B023
            else:
                with start_cluster(Path(temporary, f"{MARK}{turn}")):
                    took_s, result = timed(lambda: submit(project))  # noqa: B023
                jobs = len(re.findall(r"has been submitted with SLURM jobid", result.stdout))
            if result.returncode != 0:
                sys.exit(result.stdout)
            seconds[kind].append(took_s)
            print(f"{kind}: {took_s:.0f} s", flush=True)
    local_s, slurm_s = (sum(times) / len(times) for times in seconds.values())
    each_s = (slurm_s - local_s) / jobs
    print(f"{jobs} jobs submitted; {slurm_s / local_s:.2f} of local; {each_s:.1f} s more a job")


def timed(run) -> tuple:
    """Return how long a call took, and what it gave."""
    started = time.monotonic()
    result = run()
    return time.monotonic() - started, result


if __name__ == "__main__":
    main()
