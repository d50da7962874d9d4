"""Remove what no rule declares: checkpoints, partial downloads, temporary files, stale locks.

Reads: the results folder and .snakemake.
Writes: nothing; it removes. Outputs of rules stay (remove the results folder for those).
Method: refused while a run or one of its jobs is at work in this folder.
"""

import shutil
from pathlib import Path

from quorum.command import LOG, make_parser, run_command
from quorum.errors import InputError
from quorum.locks import LOCKS, is_locked, live_jobs, refuse_live_run

UNDECLARED = (".checkpoints", ".partial", ".*.tmp", ".*.tmp.*", ".*.tmp-journal")
METADATA = "-metadata.json"


def main(argv=None):
    """Remove undeclared files below the results folder, and a stale lock."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", default="results", help="results folder (default: results)")
    args = parser.parse_args(argv)
    refuse_live_run()
    refuse_live_jobs()
    found = undeclared_paths(Path(args.results))
    for path in found:
        LOG.info("removing %s", path)
        remove(path)
    if is_locked():
        LOG.info("removing a stale lock")
        shutil.rmtree(LOCKS)
    LOG.info("removed %d undeclared files and folders", len(found))


def refuse_live_jobs():
    """Raise an InputError when a job is still writing in this folder."""
    jobs = live_jobs()
    if jobs:
        pids = " ".join(str(job.pid) for job in jobs)
        raise InputError(
            f"a job is still writing in this folder (process {pids})",
            "no job at work",
            f"wait until it has ended, or end it with: kill {pids}",
        )


def undeclared_paths(results: Path) -> list:
    """Return what lies below `results` though no rule declares it.

    Parameters
    ----------
    results : Path
        The results folder; a missing one gives an empty list.

    Returns
    -------
    list of Path
        Sorted; a folder stands for all that is in it. A table's `<table>-metadata.json` counts
        when the table is gone.
    """
    found = {path for pattern in UNDECLARED for path in results.rglob(pattern)}
    for path in results.rglob(f"*{METADATA}"):
        if not path.with_name(path.name.removesuffix(METADATA)).exists():
            found.add(path)
    return sorted(path for path in found if not found.intersection(path.parents))


def remove(path: Path):
    """Remove a file, a link or a whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    run_command(main)
