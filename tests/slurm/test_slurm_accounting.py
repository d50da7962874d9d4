"""A cluster with accounting: the ends of jobs by `sacct`, and the user's own account."""

import shutil

import pytest
from needs import require
from slurm_cluster import ACCOUNT, DATABASE_PROGRAMS, MARK, missing_reason, start_cluster
from slurm_runs import ACCEPTED, TOO_LITTLE_MEMORY, end_well, submissions, submitting
from workflow.conftest import tiny_copy, tiny_run  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def accounting(tmp_path_factory):
    """A cluster of one node with slurmdbd on MariaDB."""
    reason = missing_reason(DATABASE_PROGRAMS)
    require(not reason, reason)
    with start_cluster(tmp_path_factory.mktemp(MARK), has_accounting=True) as running:
        yield running


def test_jobs_are_looked_after_by_sacct(accounting, tiny_copy):  # noqa: F811
    """One that failed is submitted again, and the second one's end is seen."""
    for rule in ("check_cubes", "accept_cubes"):
        shutil.rmtree(tiny_copy / "results" / rule)
    with submitting(tiny_copy, ACCEPTED, *TOO_LITTLE_MEMORY, has_accounting=True) as process:
        end_well(process, tiny_copy)
    words = ("sacct", "-n", "-X", "-P", "-o", "JobID,State,Account", "-j")
    lines = accounting.run(*words, ",".join(submissions(tiny_copy))).stdout.splitlines()
    rows = [line.split("|") for line in lines]
    assert [row[1].split()[0] for row in rows] == ["FAILED", "COMPLETED"]
    assert {row[2] for row in rows} == {ACCOUNT}
