"""One table of all series: nothing lost, nothing twice."""

import pytest
import summarize_series
from image_tables import fill_rows

from quorum.errors import InputError
from quorum.tables import read_table, write_table


def write_findings(path, rows):
    rows = [{"decision": "accepted", **row} for row in rows]
    write_table(fill_rows("findings", rows), path, "findings", {})
    return path


def run(tmp_path, *parts):
    paths = [write_findings(tmp_path / f"{k}.csv", rows) for k, rows in enumerate(parts)]
    out = tmp_path / "series.csv"
    summarize_series.main([str(w) for w in ["--findings", *paths, "--out-series", out]])
    return read_table(out, "findings")


def test_all_shards_are_one_table_sorted_by_patient(tmp_path):
    series = run(
        tmp_path,
        [{"source_series_uid": "1.3", "patient_id": "C"}],
        [],
        [
            {"source_series_uid": "1.2", "patient_id": "B", "decision": "excluded"},
            {"source_series_uid": "1.1", "patient_id": "A"},
        ],
    )
    assert series["source_series_uid"].tolist() == ["1.1", "1.2", "1.3"]
    assert series["decision"].tolist() == ["accepted", "excluded", "accepted"]


def test_no_series_at_all_is_an_empty_table(tmp_path):
    assert run(tmp_path, [], []).empty


def test_a_series_in_two_shards_is_refused(tmp_path):
    row = {"source_series_uid": "1.1", "patient_id": "A"}
    with pytest.raises(InputError, match=r"1\.1 stands in two shards"):
        run(tmp_path, [row], [row])
