"""check_cubes: what is sound passes, and each kind of damage fails its own check."""

import check_cubes
import h5py
import numpy as np
import pandas as pd
import pytest
from image_tables import fill_rows
from shard_factory import make_shard

from quorum.cube_checks import bias_checks, check_counts, check_published
from quorum.shards import open_shards
from quorum.tables import read_table, write_table


def make_inputs(folder, shards=(7, 6), *, dropped=(), criteria=("at least 3 annotations",)):
    """Write shards of synthetic nodules and the tables that go with them; return the flags."""
    paths, first = [], 0
    for number, count in enumerate(shards):
        paths.append(make_shard(folder / f"shard{number:02d}.h5", count, first=first))
        first += count
    cubes = open_shards(paths)
    rows = [
        {"nodule_id": nodule, "patient_id": patient, "series_uid": uid, "annotation_ids": ["1"]}
        for nodule, patient, uid in zip(
            cubes.nodule_id, cubes.patient_id, cubes.source_series_uid, strict=True
        )
    ]
    rows += [{"nodule_id": name, "patient_id": "TEST-0000", "series_uid": "1"} for name in dropped]
    patients = sorted({row["patient_id"] for row in rows})
    splits = [
        {"patient_id": patient, "part": f"fold{number % 3}", "num_nodules": 2}
        for number, patient in enumerate(patients)
    ]
    attrition = [
        {"criterion": words, "num_dropped": 0, "num_in": 9, "num_out": 9} for words in criteria
    ]
    lost = [{"nodule_id": name, "reason": "no images"} for name in dropped]
    tables = {
        "nodules": rows,
        "attrition": attrition,
        "splits": splits,
        "findings": [{"source_series_uid": "1", "data_kind": "phantom", "decision": "accepted"}],
        "dropped_nodules": lost,
    }
    for table, content in tables.items():
        write_table(fill_rows(table, content), folder / f"{table}.csv", table, {})
    return {
        "--nodules": [folder / "nodules.csv"],
        "--attrition": [folder / "attrition.csv"],
        "--splits": [folder / "splits.csv"],
        "--findings": [folder / "findings.csv"],
        "--shards": paths,
        "--dropped": [folder / "dropped_nodules.csv"],
        "--out-checks": [folder / "checks.csv"],
        "--out-volumes": [folder / "volumes.csv"],
    }


def run(flags) -> pd.DataFrame:
    """Run the script and return the table of checks."""
    check_cubes.main([str(part) for name, values in flags.items() for part in (name, *values)])
    return read_table(flags["--out-checks"][0], "checks")


def failed(checks) -> set:
    """Return the names of the failed checks, those of alignment as one."""
    names = checks.loc[~checks["is_passed"].astype(bool), "check"]
    return {name.split(",")[0] for name in names}


def test_sound_cubes_pass(tmp_path):
    flags = make_inputs(tmp_path)
    checks = run(flags)
    assert failed(checks) == set()
    volumes = read_table(flags["--out-volumes"][0], "volumes")
    assert len(volumes) == 13 * 5
    assert set(volumes["subject"]) == {"consensus", "reader1", "reader2", "reader3", "reader4"}
    assert (volumes["volume_grid_mm3"] == volumes["volume_native_mm3"]).all()


def test_empty_shards_pass(tmp_path):
    assert failed(run(make_inputs(tmp_path, shards=(3, 0)))) == set()
    (tmp_path / "none").mkdir()
    assert failed(run(make_inputs(tmp_path / "none", shards=(0, 0)))) == set()


def test_dropped_nodules_are_told_with_their_reason(tmp_path):
    checks = run(make_inputs(tmp_path, dropped=["x-1", "x-2"])).set_index("check")
    assert checks["is_passed"].all()
    assert checks.loc["nodules dropped", "value"] == 2
    assert checks.loc["nodules dropped", "detail"] == "2 no images"


def test_a_nodule_that_vanished_fails(tmp_path):
    flags = make_inputs(tmp_path, dropped=["x-1"])
    empty = fill_rows("dropped_nodules", [])
    write_table(empty, flags["--dropped"][0], "dropped_nodules", {})
    checks = run(flags)
    assert failed(checks) == {"no nodule vanishes"}
    row = checks[checks["check"] == "no nodule vanishes"].iloc[0]
    assert "x-1" in row["detail"]


def test_a_patient_in_two_parts_fails(tmp_path):
    flags = make_inputs(tmp_path)
    splits = read_table(flags["--splits"][0], "splits")
    twice = pd.concat([splits, splits.iloc[:1].assign(part="test")])
    write_table(twice, flags["--splits"][0], "splits", {})
    assert failed(run(flags)) == {"patients in one part"}


def test_a_patient_in_no_part_fails(tmp_path):
    flags = make_inputs(tmp_path)
    splits = read_table(flags["--splits"][0], "splits")
    write_table(splits.iloc[1:], flags["--splits"][0], "splits", {})
    assert failed(run(flags)) == {"patients in the split"}


def test_another_spacing_than_configured_fails(tmp_path):
    flags = make_inputs(tmp_path)
    flags["--spacing-mm"] = ["0.8"]
    assert failed(run(flags)) == {"spacing"}


def test_kinds_that_no_series_has_fail(tmp_path):
    flags = make_inputs(tmp_path)
    findings = read_table(flags["--findings"][0], "findings").assign(data_kind="scan")
    write_table(findings, flags["--findings"][0], "findings", {})
    assert failed(run(flags)) == {"data kind"}


def empty_readers(shard):
    shard["readers"][2] = 0


def stray_bit(shard):
    shard["readers"][0] = shard["readers"][0] | np.uint8(1 << 6)


def missing_rescale(shard):
    shard["image"][1] = shard["image"][1] - 1000


def blank_image(shard):
    shard["image"][3] = -800


def lost_coverage(shard):
    shard["coverage"][:, :, :40] = 0


def moved_center(shard):
    shard["center_lps_mm"][0] = shard["center_lps_mm"][0] + 0.5


def shrunken_masks(shard):
    shard["volume_native_mm3"][...] = shard["volume_native_mm3"][...] * 1.3


def exchanged_masks(shard):
    shard["readers"][...] = np.roll(shard["readers"][...], 25, axis=3)


@pytest.mark.parametrize(
    ("damage", "checks"),
    [
        (empty_readers, {"readers kept", "consensus kept"}),
        (stray_bit, {"readers counted"}),
        (missing_rescale, {"range of HU"}),
        (blank_image, {"image there"}),
        (lost_coverage, {"masks covered"}),
        (moved_center, {"centred"}),
        (shrunken_masks, {"volume"}),
        (exchanged_masks, {"alignment"}),
    ],
)
def test_each_damage_fails_its_own_check(tmp_path, damage, checks):
    flags = make_inputs(tmp_path)
    with h5py.File(flags["--shards"][0], "a") as shard:
        damage(shard)
    assert failed(run(flags)) >= checks
    assert failed(run(flags)) <= checks | {"volume", "alignment"}


FOUR = ["at most 4 annotations, one a reader", "at least 4 annotations", "at most 4 annotations"]


def attrition(words, dropped):
    return pd.DataFrame({"criterion": words, "num_dropped": dropped})


@pytest.mark.parametrize(("count", "is_passed"), [(897, True), (896, False)])
def test_the_published_count_holds_the_unrestricted_cohort(count, is_passed):
    nodules = pd.DataFrame({"nodule_id": range(count)})
    (check,) = check_published(nodules, attrition(FOUR, [14, 1740, 0]))
    assert check.is_passed == is_passed


@pytest.mark.parametrize(
    ("words", "dropped"),
    [
        ([*FOUR, "a draw of 30 patients"], [14, 1740, 0, 850]),
        (["at least 3 annotations", "at most 4 annotations"], [1, 0]),
        ([*FOUR, "series among the local files"], [14, 1740, 0, 1]),
    ],
)
def test_the_published_count_leaves_other_cohorts_alone(words, dropped):
    assert check_published(pd.DataFrame({"nodule_id": [1]}), attrition(words, dropped)) == []


def test_bounds_on_bias_are_those_of_many_nodules_and_wider_for_few():
    many = bias_checks("x", "large", np.full(100, 0.011))
    assert [check.is_passed for check in many] == [False, True]
    few = bias_checks("x", "large", np.full(9, 0.011))
    assert [check.is_passed for check in few] == [True, True]
    assert few[0].limit == pytest.approx(0.01 + 0.05)
    assert not bias_checks("x", "small", np.full(200, -0.021))[0].is_passed


def test_a_nodule_both_cube_and_dropped_fails():
    nodules = pd.DataFrame({"nodule_id": ["a", "b"]})
    dropped = pd.DataFrame({"nodule_id": ["b"], "reason": ["no images"]})
    checks = check_counts(nodules, ["a", "b"], dropped)
    assert [check.check for check in checks if not check.is_passed] == ["no nodule twice"]
