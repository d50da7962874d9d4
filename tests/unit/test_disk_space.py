"""What a download takes on the disk: known answers, and a run that can't fit."""

import random
from argparse import Namespace

import pandas as pd
import pytest
from annotation_factory import real_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from image_tables import fill_rows

from quorum.disk_space import check_disk, disk_plan, folder_size, refuse_overflow
from quorum.errors import InputError
from quorum.sharding import shard_of
from quorum.tables import read_table, write_table

GB = 1_000_000_000


def plan_of(sizes_gb: list, num_nodules: int = 0) -> pd.DataFrame:
    rows = [
        {
            "shard": f"shard{number:02d}",
            "num_series": 1,
            "num_nodules": num_nodules,
            "num_bytes": int(size * GB),
        }
        for number, size in enumerate(sizes_gb)
    ]
    return fill_rows("shard_plan", rows)


def peak(sizes_gb, **changes) -> dict:
    return disk_plan(plan_of(sizes_gb), **{"concurrent": 2, **changes})


def test_the_peak_is_the_largest_shards_at_once():
    plan = peak([1.0, 5.0, 2.0, 4.0])
    assert plan["peak_gb"] == pytest.approx(9.0)
    assert plan["fetched_gb"] == pytest.approx(12.0)
    assert plan["largest_shard_gb"] == pytest.approx(5.0)


def test_all_that_is_kept_counts():
    assert peak([1.0, 5.0, 2.0], concurrent=99)["peak_gb"] == pytest.approx(8.0)


def test_cubes_of_all_shards_count_and_those_that_are_made_need_nothing_more():
    shards = plan_of([1.0, 1.0, 1.0], 100)
    plan = disk_plan(shards, concurrent=1)
    assert (plan["peak_gb"], plan["needed_gb"]) == pytest.approx((1.3, 1.3))
    plan = disk_plan(shards, concurrent=1, done=["shard00", "shard02"])
    assert (plan["peak_gb"], plan["needed_gb"]) == pytest.approx((1.3, 1.1))


def test_images_that_are_there_need_not_fit_again():
    assert peak([1.0, 5.0, 2.0, 4.0], there_gb=3.0)["needed_gb"] == pytest.approx(6.0)
    assert peak([1.0], there_gb=3.0)["needed_gb"] == 0.0


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 50.0), min_size=1, max_size=20), st.integers(1, 25))
def test_more_at_once_never_takes_less_and_never_more_than_all(sizes_gb, concurrent):
    fewer = peak(sizes_gb, concurrent=concurrent)["peak_gb"]
    more = peak(sizes_gb, concurrent=concurrent + 1)["peak_gb"]
    assert fewer <= more + 1e-6
    assert more <= sum(sizes_gb) + 1e-6


@pytest.mark.parametrize(
    ("budget_gb", "free_gb", "words"),
    [(8.0, 100.0, "source.disk_budget_gb is 8.0 GB"), (None, 8.5, "8.5 GB are free")],
)
def test_a_run_that_cannot_fit_says_so(budget_gb, free_gb, words):
    plan = peak([1.0, 5.0, 4.0])
    with pytest.raises(InputError, match=r"9\.0 GB at their peak") as error:
        refuse_overflow(plan, budget_gb=budget_gb, free_gb=free_gb)
    assert words in str(error.value)


def test_a_run_that_fits_passes():
    refuse_overflow(peak([1.0, 5.0, 4.0]), budget_gb=9.5, free_gb=9.5)


def test_what_is_on_the_disk_is_counted(tmp_path):
    write_table(plan_of([0.001, 0.003]), tmp_path / "shards.csv", "shard_plan", {})
    for name in ("shard00/a.dcm", ".partial/b.dcm"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(bytes(1000))
    assert folder_size(tmp_path) == 2000
    args = Namespace(
        shards=tmp_path / "shards.csv",
        concurrent_shards=1,
        disk_budget_gb=0.001,
        partial=tmp_path / ".partial",
        out_files=tmp_path / "shard00.csv",
    )
    with pytest.raises(InputError, match="disk_budget_gb"):
        check_disk(args)
    args.disk_budget_gb = None
    assert check_disk(args) == pytest.approx(4e6)


def peak_of_a_run(sizes_gb: list, durations_s: list, concurrent: int) -> float:
    """Return the most images on the disk, where a shard starts when the one before is cubes."""
    ends, events = [], []
    for number, (size, duration) in enumerate(zip(sizes_gb, durations_s, strict=True)):
        start = ends[number - concurrent] if number >= concurrent else 0.0
        ends.append(start + duration)
        # A shard's images go before the next one's come: Snakemake removes them as the job ends.
        events += [(start, 1, size), (ends[-1], 0, -size)]
    on_disk = peak_gb = 0.0
    for _, _, change in sorted(events):
        on_disk += change
        peak_gb = max(peak_gb, on_disk)
    return peak_gb


@pytest.fixture(scope="module")
def four_readers():
    """Sizes of 32 shards of all series with nodules of four annotations, GB."""
    tables = real_tables()
    nodules = read_table(tables["nodules"], "nodules")
    series = read_table(tables["series"], "series")
    wanted = set(nodules.loc[nodules["num_annotations"] == 4, "series_uid"])
    series = series[series["series_uid"].isin(wanted)]
    shard = series["series_uid"].map(lambda uid: shard_of(uid, 32))
    assert len(series) == 559
    return (series.groupby(shard)["num_bytes"].sum().astype(float) / GB).tolist()


def test_the_whole_cohort_needs_what_the_readme_says(four_readers):
    assert sum(four_readers) == pytest.approx(71.1, abs=0.1)
    plan = disk_plan(plan_of(four_readers, 28), concurrent=2)
    assert plan["peak_gb"] == pytest.approx(7.3, abs=0.1)
    refuse_overflow(plan, budget_gb=20.0, free_gb=20.0)


@pytest.mark.parametrize("concurrent", [1, 2, 3, 6])
def test_a_simulated_run_of_the_whole_cohort_never_exceeds_its_plan(four_readers, concurrent):
    choose = random.Random(concurrent)
    planned = peak(four_readers, concurrent=concurrent)["peak_gb"]
    peaks = []
    for _ in range(200):
        durations = [choose.uniform(1.0, 100.0) for _ in four_readers]
        peaks.append(peak_of_a_run(four_readers, durations, concurrent))
    assert max(peaks) <= planned + 1e-6
    assert max(peaks) >= max(four_readers)
