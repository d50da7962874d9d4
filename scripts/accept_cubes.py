"""Stops the run when a data check failed; the findings stay where they are.

Reads
    --checks        check_cubes/checks.csv (table checks)
Writes
    --out-accepted  the same rows, there only when every check passed
"""

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

MAX_NAMED = 3


def failure_phrase(checks) -> str:
    """Return the failed checks in words: the first few with their scope."""
    failed = checks[~checks["is_passed"].astype(bool)]
    named = [f"{row.check} ({row.scope})" for row in failed.itertuples(index=False)]
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return ", ".join(named[:MAX_NAMED]) + more


def main(argv=None):
    """Read the checks; write them on when all passed, else say which failed."""
    parser = make_parser(__doc__)
    parser.add_argument("--checks", required=True)
    parser.add_argument("--out-accepted", required=True)
    args = parser.parse_args(argv)
    checks = read_table(args.checks, "checks")
    num_failed = int((~checks["is_passed"].astype(bool)).sum())
    if num_failed or not len(checks):
        raise InputError(
            f"{num_failed} of {len(checks)} data checks failed: {failure_phrase(checks) or 'none'}",
            "cubes that pass every check",
            f"read value, limit and detail in {args.checks}, mend the cause and run again",
        )
    write_table(checks, args.out_accepted, "checks", provenance(__file__, args))
    LOG.info("checks: all %d passed", len(checks))


if __name__ == "__main__":
    run_command(main)
