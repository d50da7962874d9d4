"""Groups of annotations are exactly pylidc's."""

import group_annotations
import numpy as np
import pandas as pd
import pytest
from annotation_factory import cube_outlines, flag, make_tables, real_tables, write_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from quorum.errors import InputError
from quorum.grouping import group_series, near_pairs, nodule_id, sort_ids
from quorum.pylidc_compat import import_pylidc
from quorum.tables import read_table, write_table

SIZES = {1: 771, 2: 488, 3: 481, 4: 897, 5: 8, 6: 2, 7: 3, 8: 1}
CLOUDS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 25), st.integers(0, 25), st.integers(0, 6)), min_size=1, max_size=8
    ),
    min_size=1,
    max_size=9,
)


@pytest.fixture(scope="module")
def nodules():
    return read_table(real_tables()["nodules"], "nodules")


def pylidc_rule(points: list, tolerance: float) -> np.ndarray:
    """pylidc 0.2.3's loop, word for word, on all distances."""
    number = len(points)
    distances = np.zeros((number, number))
    for i in range(number):
        for j in range(i + 1, number):
            distances[i, j] = distances[j, i] = cdist(points[i], points[j]).min()
    labels = connected_components(distances <= tolerance, directed=False)[1]
    while np.bincount(labels).max() > 4:
        tolerance *= 0.9
        if tolerance < 0.1:
            break
        labels = connected_components(distances <= tolerance, directed=False)[1]
    return labels


def as_sets(labels) -> set:
    return {frozenset(np.flatnonzero(labels == label)) for label in np.unique(labels)}


@settings(deadline=None, max_examples=200)
@given(CLOUDS, st.sampled_from([0.6, 1.0, 1.25, 2.0, 2.5, 3.0, 5.0]))
def test_groups_are_those_of_all_distances(clouds, tolerance):
    points = [np.array(cloud) for cloud in clouds]
    labels, is_resolved = group_series(points, tolerance)
    expected = pylidc_rule(points, tolerance)
    assert as_sets(labels) == as_sets(expected)
    assert is_resolved == (np.bincount(expected).max() <= 4)


@settings(deadline=None)
@given(CLOUDS, st.randoms(use_true_random=False))
def test_order_of_annotations_changes_nothing(clouds, random):
    points = [np.array(cloud) for cloud in clouds]
    order = list(range(len(points)))
    random.shuffle(order)
    shuffled, _ = group_series([points[i] for i in order], 2.5)
    back = {frozenset(order[i] for i in group) for group in as_sets(shuffled)}
    assert back == as_sets(group_series(points, 2.5)[0])


def test_a_distance_of_exactly_the_tolerance_joins():
    points = [np.array([[0, 0, 0]]), np.array([[3, 4, 0]])]
    assert len(near_pairs(points, 5.0)[0]) == 1
    assert len(near_pairs(points, np.nextafter(5.0, 0))[0]) == 0


def test_tolerance_shrinks_until_four_are_left():
    # Two bundles of three, 2 voxels apart: one group at 2.5, two at 2.5 * 0.9^3 = 1.82.
    points = [np.array([[0, 0, 0]])] * 3 + [np.array([[0, 2, 0]])] * 3
    labels, is_resolved = group_series(points, 2.5)
    assert as_sets(labels) == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    assert is_resolved


def test_five_on_one_spot_stay_unresolved():
    labels, is_resolved = group_series([np.array([[1, 1, 1]])] * 5, 2.5)
    assert len(set(labels)) == 1
    assert not is_resolved


def test_nodule_id_is_known_and_ignores_order():
    assert nodule_id("1.2.3", ["9", "10"]) == nodule_id("1.2.3", ["10", "9"])
    assert sort_ids(["10", "9"]) == ["9", "10"]
    assert sort_ids(["b10", "a9"]) == ["a9", "b10"]
    real = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"
    assert nodule_id(real, ["84", "85", "86", "87"]) == "beacdd8c-dd2f5a6d"


def test_a_small_set_of_tables(tmp_path):
    nodules = read_table(make_tables(tmp_path)["nodules"], "nodules")
    assert sorted(nodules["num_annotations"]) == [1, 3, 4, 4, 4, 4, 5]
    assert nodules["is_unresolved"].sum() == 3  # every nodule of the series with five on a spot
    first = nodules.iloc[0]
    assert first["center_row_px"] == (first["min_row"] + first["max_row"]) / 2
    assert first["center_z_mm"] == -60.0
    assert first["malignancy_values"] == [3.0] * 4
    assert first["malignancy_spread"] == 0


def test_ratings_keep_their_reader_and_missing_ones(tmp_path):
    block = cube_outlines(20, 100, 100, 4)
    paths = write_tables(tmp_path, dict.fromkeys(("11", "9", "10"), ("1.2.0", block)))
    annotations = read_table(paths["annotations"], "annotations").set_index("annotation_id")
    annotations.loc["9", "malignancy"] = 1
    annotations.loc["10", "malignancy"] = 4
    annotations.loc["11", "malignancy"] = pd.NA
    annotations = annotations.reset_index()
    write_table(annotations, paths["annotations"], "annotations", {})
    nodule = group(paths, tmp_path / "nodules.csv").iloc[0]
    assert nodule["annotation_ids"] == ["9", "10", "11"]
    np.testing.assert_array_equal(nodule["malignancy_values"], [1, 4, np.nan])
    assert (nodule["malignancy_median"], nodule["malignancy_spread"]) == (2.5, 3)


def group(paths: dict, out) -> pd.DataFrame:
    words = [word for name, path in paths.items() for word in flag(name, path)]
    group_annotations.main([*words, "--out-nodules", str(out)])
    return read_table(out, "nodules")


def test_annotations_without_outlines_are_refused(tmp_path):
    block = cube_outlines(20, 100, 100, 4)
    paths = write_tables(tmp_path, dict.fromkeys(("1", "2"), ("1.2.0", block)))
    contours = read_table(paths["contours"], "contours")
    write_table(contours[contours["annotation_id"] == "1"], paths["contours"], "contours", {})
    with pytest.raises(InputError, match="have no outline, such as 2"):
        group(paths, tmp_path / "nodules.csv")
    assert not (tmp_path / "nodules.csv").exists()


def test_the_published_numbers_of_groups(nodules):
    assert len(nodules) == 2651
    assert nodules["num_annotations"].value_counts().to_dict() == SIZES
    assert nodules["nodule_id"].is_unique
    assert nodules.loc[nodules["is_unresolved"], "series_uid"].nunique() == 14
    too_many = nodules[nodules["num_annotations"] > 4]
    assert too_many["is_unresolved"].all()


def test_the_four_reader_nodules(nodules):
    four = nodules[nodules["num_annotations"] == 4]
    assert (four["series_uid"].nunique(), four["patient_id"].nunique()) == (559, 554)
    assert four["diameter_mm"].median() == pytest.approx(10.1, abs=0.05)
    assert four["diameter_mm"].max() == pytest.approx(46.8, abs=0.05)
    malignancy = four["malignancy_median"]
    counts = [(malignancy < 3).sum(), (malignancy == 3).sum(), (malignancy > 3).sum()]
    assert counts == [303, 254, 340]


def test_thin_series_and_their_nodules(nodules):
    series = read_table(real_tables()["series"], "series")
    thin = set(series.loc[series["slice_thickness_mm"] <= 2.5, "series_uid"])
    three = nodules[(nodules["num_annotations"] >= 3) & nodules["series_uid"].isin(thin)]
    assert (len(three), len(thin)) == (1192, 897)


def test_two_runs_write_the_same_bytes(tmp_path, nodules):
    paths = {name: path for name, path in real_tables().items() if name != "nodules"}
    group(paths, tmp_path / "nodules.csv")
    assert (tmp_path / "nodules.csv").read_bytes() == real_tables()["nodules"].read_bytes()


def differing_series(uids, nodules) -> list:
    """Return the series whose groups differ from pylidc's own, run here."""
    pylidc = import_pylidc()
    ours = nodules.groupby("series_uid")["annotation_ids"].agg(lambda ids: set(map(frozenset, ids)))
    differing = []
    for uid in uids:
        scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.series_instance_uid == uid).one()
        clusters = scan.cluster_annotations(verbose=False)
        theirs = {frozenset(str(mark.id) for mark in cluster) for cluster in clusters}
        if ours.get(uid, set()) != theirs:
            differing.append(uid)
    return differing


def test_groups_of_a_sample_are_pylidcs(nodules):
    sizes = nodules.groupby("series_uid")["num_annotations"].sum()
    unresolved = set(nodules.loc[nodules["is_unresolved"], "series_uid"])
    # The three smallest of the unresolved, and 26 more of at most 12 annotations: quick ones.
    few = sizes[sizes.index.isin(unresolved)].sort_values().index[:3]
    sample = sizes[(sizes <= 12) & ~sizes.index.isin(unresolved)].index[::25]
    assert len(sample) > 20
    assert differing_series([*few, *sample], nodules) == []


@pytest.mark.slow
def test_groups_of_every_series_are_pylidcs(nodules):
    series = read_table(real_tables()["series"], "series")
    assert differing_series(series["series_uid"], nodules) == []
