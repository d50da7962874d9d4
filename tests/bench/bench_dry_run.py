"""How long Snakemake takes to plan each configuration; prints seconds and the share of 5 s."""

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workflow_copy import copy_project, snakemake

LIMIT_S = 5.0


def main():
    """Plan each configuration three times in a fresh copy and print the fastest."""
    with tempfile.TemporaryDirectory() as temporary:
        project = copy_project(Path(temporary, "project"))
        files = project / "files" / "lidc-vois"
        files.mkdir(parents=True)
        root = files.parent
        plans = {
            "config.yaml": (),
            "sample.yaml": ("--configfile", "config/sample.yaml"),
            "lidc.yaml": (
                *("--configfile", "config/lidc.yaml"),
                *("--config", f"source={{kind: local, root: {root}}}"),
            ),
        }
        for name, flags in plans.items():
            times, cpu_times = [], []
            for _ in range(3):
                start, cpu_start = time.monotonic(), cpu_of_children_s()
                result = snakemake(project, "-n", *flags, QUORUM_REAL_DATA=str(root))
                times.append(time.monotonic() - start)
                cpu_times.append(cpu_of_children_s() - cpu_start)
                if result.returncode != 0:
                    sys.exit(result.stdout)
            best_s, cpu_s = min(times), min(cpu_times)
            print(f"{name}: {best_s:.1f} s, {best_s / LIMIT_S:.2f} of the limit; CPU {cpu_s:.1f} s")


def cpu_of_children_s() -> float:
    """Return the CPU time of ended child processes; other work on the machine counts less in it."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
