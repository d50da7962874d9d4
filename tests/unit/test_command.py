"""What scripts share on their command line."""

import argparse
import json
import logging

import pytest

from quorum import __version__, command
from quorum.errors import InputError


def test_an_input_error_becomes_one_sentence_and_status_1(capsys):
    def fails():
        raise InputError("the file a.csv is empty", "rows", "make it again")

    with pytest.raises(SystemExit) as stop:
        command.run_command(fails)
    assert stop.value.code == 1
    assert capsys.readouterr().err == (
        "error: the file a.csv is empty; expected rows; to mend it, make it again.\n"
    )


@pytest.mark.parametrize(("status", "code"), [(None, 0), (0, 0), (75, 75)])
def test_the_status_of_main_is_the_process_status(status, code):
    with pytest.raises(SystemExit) as stop:
        command.run_command(lambda: status)
    assert stop.value.code == code


def test_another_exception_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        command.run_command(lambda: 1 / 0)


def test_counts_that_do_not_add_up_are_refused(caplog):
    caplog.set_level(logging.INFO)
    command.log_counts("nodules", came_in=5, dropped={"too thick": 2}, went_out=3)
    assert "nodules: 2 dropped: too thick" in caplog.text
    with pytest.raises(RuntimeError, match="no sum"):
        command.log_counts("nodules", came_in=5, dropped={"too thick": 1}, went_out=3)


def test_progress_yields_everything_and_tells_what_is_left(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    clock = iter(range(0, 1000, 6))
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    assert list(command.progress(range(4), "cubes")) == [0, 1, 2, 3]
    # One item takes 6 s of this clock, and a line is due every 10 s.
    assert [r.getMessage() for r in caplog.records] == [
        "cubes: 2 of 4 done, about 12 s left",
        "cubes: 4 of 4 done, about 0 s left",
    ]


def test_a_flag_may_not_be_shortened():
    parser = command.make_parser("What it does.")
    parser.add_argument("--out-table")
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "x"])
    assert "What it does." in parser.format_help()


def test_provenance_names_flags_inputs_code_and_versions(tmp_path):
    (tmp_path / "in.csv").write_bytes(b"abc")
    args = argparse.Namespace(table=str(tmp_path / "in.csv"), seed=3, out_table=str(tmp_path / "x"))
    made_by = command.provenance("/anywhere/clean_results.py", args)
    assert made_by["script"] == "clean_results"
    assert made_by["flags"] == {"seed": [3]}
    assert made_by["input_sha256"]["table:in.csv"].startswith("ba7816bf8f01cfea")
    assert made_by["versions"]["quorum"] == __version__
    json.dumps(made_by)
    args.out_table = str(tmp_path / "y")
    assert command.provenance("/anywhere/clean_results.py", args) == made_by
    args.seed = 4
    changed = command.provenance("/anywhere/clean_results.py", args)
    assert changed["config_digest"] != made_by["config_digest"]


def test_inputs_of_the_same_name_are_all_kept(tmp_path):
    for name in ("fold0", "fold1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.csv").write_text(name)
    scores = [str(tmp_path / name / "scores.csv") for name in ("fold0", "fold1")]
    made_by = command.provenance("/x/clean_results.py", argparse.Namespace(scores=scores))
    assert len(made_by["input_sha256"]) == 2
