"""Agreement of readers: known answers on blocks, published means on LIDC-IDRI."""

import compare_readers
import numpy as np
import pytest
from annotation_factory import cube_outlines, make_tables, real_tables, write_tables
from compare_readers import compare_nodule, majority_of_others, reader_masks

from quorum.outlines import Outline
from quorum.tables import read_table, write_table

Z_MM = np.arange(-100.0, -20.0, 2.0)
SPACING_MM = (2.0, 0.5, 0.5)


def reader(row: int, half: int) -> list:
    return [Outline(z, True, rows, cols) for z, rows, cols in cube_outlines(20, row, 100, half)]


def run(tables: dict, nodules, out, threads=1):
    flags = ["--nodules", nodules, "--threads", threads, "--out-agreement", out]
    for name in ("series", "slices", "contours"):
        flags += [f"--{name}", tables[name]]
    compare_readers.main([str(word) for word in flags])
    return read_table(out, "agreement")


def test_masks_share_one_box():
    masks, z_mm = reader_masks([reader(100, 4), reader(101, 2)], Z_MM)
    assert masks.shape == (2, 3, 9, 9)
    assert [int(mask.sum()) for mask in masks] == [3 * 49, 3 * 9]
    np.testing.assert_array_equal(z_mm, [-62, -60, -58])


def test_majority_of_others_is_half_or_more():
    votes = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1]], bool)
    masks = votes.reshape(4, 1, 1, 4)
    # left out reader 1: two of three
    assert majority_of_others(masks, 0).ravel().tolist() == [True, True, False, False]
    # three readers, one left out: one of two is enough
    assert majority_of_others(masks[:3], 0).ravel().tolist() == [True, True, False, False]


def test_blocks_of_three_readers():
    rows = compare_nodule(("n", [reader(100, 4), reader(100, 4), reader(100, 3)], Z_MM, SPACING_MM))
    kinds = [(row["kind"], row["reader_a"], row["reader_b"]) for row in rows]
    assert kinds == [("pair", 1, 2), ("pair", 1, 3), ("pair", 2, 3)] + [
        ("against_others", k, None) for k in (1, 2, 3)
    ]
    assert rows[0]["dice"] == 1
    assert rows[1]["iou"] == pytest.approx(25 / 49)
    assert rows[1]["hd95_mm"] <= np.hypot(0.5, 0.5)


def test_one_empty_mask_is_zero_and_counted():
    flat = [Outline(-60.0, True, np.array([100, 100, 101]), np.array([100, 101, 100]))]
    rows = compare_nodule(("n", [reader(100, 4), flat, flat], Z_MM, SPACING_MM))
    assert (rows[0]["dice"], rows[0]["is_empty_mask"]) == (0, True)
    assert np.isnan(rows[0]["hd95_mm"])
    assert np.isnan(rows[2]["dice"])
    assert rows[2]["is_empty_mask"]


def test_a_single_reader_has_nobody_to_compare_with(tmp_path):
    tables = make_tables(tmp_path)
    agreement = run(tables, tables["nodules"], tmp_path / "agreement.csv")
    nodules = read_table(tables["nodules"], "nodules")
    counts = agreement.groupby("nodule_id").size().reindex(nodules["nodule_id"]).fillna(0)
    readers = nodules["num_annotations"].to_numpy(int)
    expected = np.where(readers > 1, readers * (readers - 1) // 2 + readers, 0)
    np.testing.assert_array_equal(counts, expected)


def test_uneven_slices_use_their_own_z(tmp_path):
    high = [Outline(Z_MM[22], True, *ring_at(100))]
    low = [Outline(Z_MM[20], True, *ring_at(100))]
    even = compare_nodule(("n", [low, high], Z_MM, SPACING_MM))[0]
    shifted = Z_MM.copy()
    shifted[22:] += 30
    high = [Outline(shifted[22], True, *ring_at(100))]
    uneven = compare_nodule(("n", [low, high], shifted, SPACING_MM))[0]
    assert even["assd_mm"] == pytest.approx(4)
    assert uneven["assd_mm"] == pytest.approx(34)


def ring_at(row: int) -> tuple:
    return cube_outlines(20, row, 100, 2, num_slices=1)[0][1:]


def test_processes_change_nothing(tmp_path):
    tables = make_tables(tmp_path)
    for threads in (1, 2):
        run(tables, tables["nodules"], tmp_path / f"{threads}.csv", threads)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_an_empty_cohort_gives_an_empty_table(tmp_path):
    tables = write_tables(tmp_path, {"1": ("1.2.0", cube_outlines(20, 100, 100, 4))})
    nodules = read_table(real_tables()["nodules"], "nodules").iloc[:0]
    write_table(nodules, tmp_path / "nodules.csv", "nodules", {})
    assert len(run(tables, tmp_path / "nodules.csv", tmp_path / "agreement.csv")) == 0


def test_the_published_means_over_the_897(tmp_path):
    tables = real_tables()
    nodules = read_table(tables["nodules"], "nodules")
    four = nodules[nodules["num_annotations"] == 4]
    write_table(four, tmp_path / "nodules.csv", "nodules", {})
    agreement = run(tables, tmp_path / "nodules.csv", tmp_path / "agreement.csv", threads=2)
    pairs = agreement[agreement["kind"] == "pair"]
    others = agreement[agreement["kind"] == "against_others"]
    assert (len(pairs), len(others)) == (897 * 6, 897 * 4)
    assert pairs["iou"].mean() == pytest.approx(0.642, abs=0.001)
    assert pairs["dice"].mean() == pytest.approx(0.773, abs=0.001)
    assert others["dice"].mean() == pytest.approx(0.808, abs=0.001)
    assert others["hd95_mm"].mean() == pytest.approx(1.6, abs=0.1)
    assert others["assd_mm"].mean() == pytest.approx(0.41, abs=0.02)
    apart = pairs[pairs["iou"] == 0].merge(four[["nodule_id", "patient_id"]], on="nodule_id")
    assert sorted(set(apart["patient_id"])) == ["LIDC-IDRI-0179", "LIDC-IDRI-0249"]
    assert not agreement["is_empty_mask"].any()
