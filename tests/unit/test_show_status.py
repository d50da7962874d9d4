"""What is running: known logs of Snakemake, and the command line."""

import datetime

import pytest
import show_status
from show_status import COSTS, lost_jobs, read_seconds, report, seconds_left, tails

from quorum.errors import InputError
from quorum.run_log import read_status

LOG = """\
Job stats:
job              count
list_series          1
extract_cubes        1
train_model          2
total                4

[Sat Nov 21 09:00:00 2026]
localrule list_series:
    log: results/logs/list_series.log
    jobid: 4
[Sat Nov 21 09:01:00 2026]
Finished jobid: 4 (Rule: list_series)
1 of 4 steps (25%) done
[Sat Nov 21 09:01:00 2026] Group job shard00 (jobs in lexicogr. order):

    [Sat Nov 21 09:01:00 2026]
    rule extract_cubes:
        log: {log}
        jobid: 2
[Sat Nov 21 09:01:00 2026]
rule train_model:
    log: results/logs/train.log
    jobid: 3
Job b0d8-57 has been submitted with SLURM jobid 16 (log: /logs/group_shard00_extract_cubes/16.log).
Job 3 has been submitted with SLURM jobid 17 (log: /logs/rule_train_model/17.log).
"""
ERROR = """\
    [Sat Nov 21 09:02:00 2026]
    Error in rule extract_cubes:
        message: None
        jobid: 2
        log: {log} (check log file(s) for error details)
"""


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "shard00.log"
    path.write_text("".join(f"line {number}\n" for number in range(20)) + "error: no such file\n")
    return path


def test_rules_done_running_and_waiting(log):
    status = read_status(LOG.format(log=log).splitlines())
    now = datetime.datetime(2026, 11, 21, 9, 2).timestamp()
    seconds = {"list_series": 30, "extract_cubes": 60, "train_model": 300}
    lines = report(status, now, {"16": "RUNNING", "17": "PENDING"}, seconds)
    assert lines == [
        "done     1 of 4: list_series 1",
        "running  1: extract_cubes 1",
        "waiting  2 (1 in the queue of SLURM): train_model 2",
        "failed   0",
        # 2 minutes for a work of 30 s and of the 60 s that extract_cubes runs; 600 to come.
        "expected end 2026-11-21 09:15",
    ]
    assert report(status, now, None, {})[1] == "running  2: extract_cubes 1, train_model 1"


def test_the_end_is_that_of_the_work_left(log):
    status = read_status(LOG.format(log=log).splitlines())
    now = status.times[0] + 120
    # Nothing known: of four equal jobs one is done; a job that runs is no more than begun.
    assert seconds_left(status, now, [], {}) == pytest.approx(120 * 3)
    # A rule without a cost takes the mean of the others, 20 s.
    seconds = {"list_series": 10, "extract_cubes": 30}
    assert seconds_left(status, now, [], seconds) == pytest.approx(120 * (30 + 2 * 20) / 10)
    # A job that has run for longer than it was to take is nearly done, and never more.
    assert seconds_left(status, now, ["2"], seconds) == pytest.approx(120 * 40 / 40)
    assert seconds_left(read_status([]), now, [], seconds) is None


def test_a_jobs_seconds_are_the_mean_of_the_measured_jobs(tmp_path):
    path = tmp_path / "costs.csv"
    rows = ["train_model,2,8000,0.2", "train_model,6,6,20.0", "write_report,1,1,3.5"]
    path.write_text("\n".join(["rule,num_jobs,num_items,wall_s_per_item", *rows]) + "\n")
    seconds = read_seconds(path)
    assert seconds == pytest.approx({"train_model": (1600 + 120) / 8, "write_report": 3.5})
    assert read_seconds(tmp_path / "none.csv") == {}
    assert read_seconds(COSTS)["train_model"] > read_seconds(COSTS)["list_series"] > 0


def test_a_job_that_slurm_forgot_is_lost(log):
    status = read_status(LOG.format(log=log).splitlines())
    assert lost_jobs(status, {"16": "RUNNING", "17": "COMPLETED"}) == []
    assert lost_jobs(status, {"17": "RUNNING"}) == ["16 (extract_cubes)"]
    assert "lost     17 (train_model): SLURM knows no more" in report(status, 0, {"16": "X"}, {})[4]


def test_the_jobs_of_an_array_are_told_apart(log):
    array = (
        "Submitted array job with Snakemake IDs 2,3 and SLURM job ID 30. "
        "The individual task IDs are 1-2.\n"
    )
    status = read_status((LOG + array).format(log=log).splitlines())
    assert status.last_submissions() == {"30_1": {"2"}, "30_2": {"3"}}


def test_a_job_that_was_submitted_again_is_not_lost(log):
    again = "Job 3 has been submitted with SLURM jobid 18 (log: /logs/rule_train_model/18.log).\n"
    status = read_status((LOG + again).format(log=log).splitlines())
    assert lost_jobs(status, {"16": "RUNNING", "18": "RUNNING"}) == []


def test_a_job_that_ended_is_not_lost(log):
    ended = "Finished jobid: 3 (Rule: train_model)\nFinished jobid: 2 (Rule: extract_cubes)\n"
    status = read_status((LOG + ended).format(log=log).splitlines())
    assert lost_jobs(status, {}) == []


def test_a_failed_job_shows_its_logs_last_lines(log):
    status = read_status((LOG + ERROR).format(log=log).splitlines())
    assert report(status, 0.0, {}, {})[3] == "failed   1: extract_cubes 1"
    lines = tails(status)
    assert str(log) in lines[0]
    assert lines[-1] == "  error: no such file"
    assert len(lines) == 1 + show_status.TAIL_LINES


def test_a_job_that_was_started_again_is_running(log):
    again = "rule extract_cubes:\n    jobid: 2\n"
    status = read_status((LOG + ERROR + again).format(log=log).splitlines())
    assert not status.failed
    assert "2" in status.running


def test_an_empty_log_gives_zeros():
    assert report(read_status([]), 0.0, {}, {})[:2] == ["done     0 of 0", "running  0"]


def test_the_newest_log_is_read(tmp_path, capsys, log):
    folder = tmp_path / ".snakemake" / "log"
    folder.mkdir(parents=True)
    (folder / "2026-01-01T000000.snakemake.log").write_text("")
    (folder / "2026-02-01T000000.snakemake.log").write_text((LOG + ERROR).format(log=log))
    show_status.main(["--folder", str(tmp_path)])
    assert "failed   1: extract_cubes 1" in capsys.readouterr().out


def test_without_a_run_one_sentence_says_so(tmp_path):
    with pytest.raises(InputError, match="no run has been started"):
        show_status.main(["--folder", str(tmp_path)])
