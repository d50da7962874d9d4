"""Shards: a fixed share of the series, whatever the cohort."""

import pandas as pd
import plan_shards
import pytest
from annotation_factory import make_tables, real_tables
from hypothesis import given
from hypothesis import strategies as st
from plan_shards import divide

from quorum.disk_space import CUBE_MB
from quorum.errors import InputError
from quorum.sharding import shard_name, shard_of
from quorum.tables import read_table, write_table


def run(tables: dict, folder, num_shards=4, names=None, nodules=None) -> tuple:
    names = names or [shard_name(number) for number in range(num_shards)]
    paths = [folder / f"{name}.csv" for name in names]
    plan_shards.main(
        [
            "--nodules",
            str(nodules or tables["nodules"]),
            "--series",
            str(tables["series"]),
            "--num-shards",
            str(num_shards),
            "--out-shards",
            *map(str, paths),
            "--out-summary",
            str(folder / "shards.csv"),
        ]
    )
    shards = [read_table(path, "nodules") for path in paths]
    return shards, read_table(folder / "shards.csv", "shard_plan")


def test_every_nodule_is_in_one_shard_and_a_series_in_one(tmp_path):
    shards, plan = run(real_tables(), tmp_path, 8)
    nodules = read_table(real_tables()["nodules"], "nodules")
    joined = pd.concat(shards)
    assert sorted(joined["nodule_id"]) == sorted(nodules["nodule_id"])
    series = [set(shard["series_uid"]) for shard in shards]
    assert sum(map(len, series)) == nodules["series_uid"].nunique()
    assert list(plan["num_nodules"]) == [len(shard) for shard in shards]
    assert plan["num_series"].min() > 0.6 * plan["num_series"].mean()


def test_bytes_and_disk(tmp_path):
    shards, plan = run(make_tables(tmp_path), tmp_path)
    for shard, row in zip(shards, plan.itertuples(), strict=True):
        assert row.num_bytes == 21_000_000 * shard["series_uid"].nunique()
        assert row.disk_mb == row.num_bytes / 1e6 + len(shard) * CUBE_MB


def test_the_log_tells_how_much_is_to_be_fetched(tmp_path, caplog):
    caplog.set_level("INFO", "quorum")
    tables = real_tables()
    nodules = read_table(tables["nodules"], "nodules")
    four = nodules[nodules["num_annotations"] == 4]
    write_table(four, tmp_path / "four.csv", "nodules", {})
    run(tables, tmp_path, 32, nodules=tmp_path / "four.csv")
    assert "to fetch from a public source: 559 of 1018 series, 71.1 GB" in caplog.text


def test_empty_shards_are_valid(tmp_path):
    shards, plan = run(make_tables(tmp_path, sizes=((4,),)), tmp_path, 6)
    assert sorted(map(len, shards)) == [0, 0, 0, 0, 0, 1]
    assert plan["num_bytes"].eq(0).sum() == 5


def test_a_changed_cohort_changes_only_the_shards_of_its_nodules(tmp_path):
    tables = make_tables(tmp_path, sizes=((4,), (4,), (4,), (4,), (4,), (4,)))
    nodules = read_table(tables["nodules"], "nodules")
    run(tables, tmp_path / "all")
    write_table(nodules.iloc[1:], tmp_path / "fewer.csv", "nodules", {})
    run(tables, tmp_path / "fewer", nodules=tmp_path / "fewer.csv")
    lost = shard_name(shard_of(nodules["series_uid"].iloc[0], 4))
    for name in map(shard_name, range(4)):
        before = (tmp_path / "all" / f"{name}.csv").read_bytes()
        after = (tmp_path / "fewer" / f"{name}.csv").read_bytes()
        assert (before == after) == (name != lost)


@given(st.text("0123456789.", min_size=1), st.integers(1, 99))
def test_a_shard_is_in_range_and_depends_on_the_series_alone(uid, num_shards):
    nodules = pd.DataFrame({"series_uid": [uid, "1.2.3"]})
    number = shard_of(uid, num_shards)
    assert 0 <= number < num_shards
    assert uid in set(divide(nodules, num_shards)[shard_name(number)]["series_uid"])
    assert uid in set(divide(nodules[:1], num_shards)[shard_name(number)]["series_uid"])


def test_a_known_shard():
    uid = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"
    # The last 8 hex digits of its SHA-256, which a modulus of 64 leaves nothing more of.
    assert shard_of(uid, 64) == 0xBEACDD8C % 64


@pytest.mark.parametrize("names", [["shard00"], ["shard01", "shard00"], ["a", "b"]])
def test_files_that_are_not_one_a_shard_are_refused(tmp_path, names):
    with pytest.raises(InputError, match=r"shard00\.csv to shard01\.csv"):
        run(make_tables(tmp_path), tmp_path, 2, names)
