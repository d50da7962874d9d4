"""accept_cubes: one sentence and exit status 1 when a check failed."""

import subprocess
import sys

import accept_cubes
import pandas as pd
import pytest

from quorum.errors import InputError
from quorum.tables import read_table, write_table


def checks_table(path, passed):
    rows = [
        {"check": f"check {k}", "scope": "shard00", "is_passed": ok, "value": 0.5, "limit": 1.0}
        for k, ok in enumerate(passed)
    ]
    names = ["check", "scope", "is_passed", "value", "limit", "detail"]
    write_table(pd.DataFrame(rows, columns=names), path, "checks", {})
    return path


def flags(folder):
    return ["--checks", str(folder / "checks.csv"), "--out-accepted", str(folder / "accepted.csv")]


def test_when_all_passed_the_rows_go_on(tmp_path):
    checks_table(tmp_path / "checks.csv", [True, True])
    accept_cubes.main(flags(tmp_path))
    assert len(read_table(tmp_path / "accepted.csv", "checks")) == 2


def test_failed_checks_are_named_with_the_place_of_the_findings(tmp_path):
    path = checks_table(tmp_path / "checks.csv", [True, False, False, False, False])
    with pytest.raises(InputError) as error:
        accept_cubes.main(flags(tmp_path))
    text = str(error.value)
    assert "4 of 5 data checks failed" in text
    assert "check 1 (shard00), check 2 (shard00), check 3 (shard00) and 1 more" in text
    assert str(path) in text
    assert not (tmp_path / "accepted.csv").exists()
    assert path.exists()


def test_no_check_at_all_is_no_acceptance(tmp_path):
    checks_table(tmp_path / "checks.csv", [])
    with pytest.raises(InputError, match="0 of 0"):
        accept_cubes.main(flags(tmp_path))


def test_from_a_shell_it_ends_with_one_sentence(tmp_path, root):
    checks_table(tmp_path / "checks.csv", [False])
    command = [sys.executable, str(root / "scripts" / "accept_cubes.py"), *flags(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 1 of 1 data checks failed: check 0 (shard00)")
    assert len(done.stderr.strip().splitlines()) == 1
