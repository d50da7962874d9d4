"""extract_cubes: synthetic series with known answers, bad input, and real files."""

from pathlib import Path

import extract_cubes
import numpy as np
import pytest
from cut_out_factory import (
    COLUMN,
    COLUMN0,
    ORIGIN,
    ROW,
    ROW0,
    SLICE0,
    UID,
    Z_MM,
    block,
    field_hu,
    make_inputs,
    volume_hu,
)

from quorum.errors import InputError
from quorum.shard_writer import ShardWriter
from quorum.shards import open_shards
from quorum.tables import read_table, write_table


def run(flags, **more):
    """Run the script and return its cubes."""
    more = {f"--{name.replace('_', '-')}": value for name, value in more.items()}
    words = []
    for name, value in {**flags, **more}.items():
        words += [name, *[str(part) for part in (value if isinstance(value, list) else [value])]]
    extract_cubes.main(words)
    return open_shards(flags["--out-shard"])


@pytest.mark.parametrize("direction", [(1, 1), (-1, -1), (1, -1)])
def test_every_covered_voxel_is_where_its_lps_position_says(tmp_path, direction):
    cubes = run(make_inputs(tmp_path, direction=direction))
    assert len(cubes) == 1
    assert np.array_equal(cubes.direction[0], np.eye(3).ravel())
    z, y, x = np.indices(cubes.shape_vox)
    origin = cubes.origin_lps_mm[0]
    wanted = field_hu(origin[0] + x, origin[1] + y, origin[2] + z)
    covered = cubes.coverage(0) > 0
    image = cubes.image(0)
    # At the rim the tent is cut off, so its centre moves; inside it is exact.
    box = cubes.coverage_box[0]
    inner = np.zeros(covered.shape, bool)
    inner[box[0] + 1 : box[3] - 1, box[1] + 1 : box[4] - 1, box[2] + 1 : box[5] - 1] = True
    assert (covered == box_mask(box, covered.shape)).all()
    assert np.abs(image - wanted)[inner].max() <= 1
    sign_x, sign_y = direction
    place = cubes.center_lps_mm[0]
    columns = (place[0] - ORIGIN[0]) / (0.5 * sign_x)
    rows = (place[1] - ORIGIN[1]) / (0.5 * sign_y)
    assert (rows, place[2]) == pytest.approx((ROW, Z_MM))
    assert columns == pytest.approx(COLUMN + 0.5, abs=0.51)


def box_mask(box, shape):
    """Return the mask of a box z0 y0 x0 z1 y1 x1."""
    mask = np.zeros(shape, bool)
    mask[box[0] : box[3], box[1] : box[4], box[2] : box[5]] = True
    return mask


@pytest.mark.parametrize("direction", [(1, 1), (-1, -1)])
def test_masks_lie_on_the_image_that_they_outline(tmp_path, direction):
    annotations = {str(k): (UID, block()) for k in range(1, 5)}
    hu, _ = volume_hu(direction)
    inside = np.zeros(hu.shape, bool)
    rows, columns, slices = ROW - ROW0, COLUMN - COLUMN0, 20 - SLICE0
    inside[slices - 3 : slices + 4, rows - 7 : rows + 8, columns - 5 : columns + 6] = True
    cubes = run(
        make_inputs(
            tmp_path,
            direction=direction,
            hu=np.where(inside, 50, -800),
            annotations=annotations,
        )
    )
    readers, image = cubes.readers(0), cubes.image(0)
    assert set(np.unique(readers)) == {0, 0b1111}
    assert (image[readers > 0] > -500).all()
    # 7 slices of 2 mm, 15 rows and 11 columns of 0.5 mm.
    assert cubes.consensus_native_mm3[0] == pytest.approx(7 * 2 * 7.5 * 5.5)
    assert (readers > 0).sum() == pytest.approx(7 * 2 * 7.5 * 5.5, abs=0.5)
    assert not cubes.is_truncated[0]
    assert np.array_equal(cubes.staple(0) >= 0.5, readers > 0)


def test_a_nodule_larger_than_the_cube_is_kept_and_marked(tmp_path):
    annotations = {str(k): (UID, block()) for k in range(1, 4)}
    flags = make_inputs(tmp_path, annotations=annotations)
    cubes = run(flags, shape_vox=[10, 16, 16])
    assert cubes.is_truncated.tolist() == [True]
    assert cubes.shape_vox == (10, 16, 16)
    assert (cubes.readers(0) > 0).sum() < cubes.consensus_native_mm3[0]
    assert cubes.num_readers.tolist() == [3]


def test_ratings_and_ids_travel_with_the_cube(tmp_path):
    cubes = run(make_inputs(tmp_path))
    assert cubes.annotation_ids[0] == "1 2 3 4"
    assert cubes.ratings[0, -1].tolist()[:4] == [3.0] * 4
    assert np.isnan(cubes.ratings[0, -1, 4:]).all()
    assert cubes.reader_status[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert cubes.data_kind == "cut_out"


def test_the_same_content_with_one_thread_and_with_two(tmp_path):
    flags = make_inputs(tmp_path)
    one = run(flags, threads=1)
    arrays = {name: getattr(one, name)(0) for name in ("image", "readers", "staple", "coverage")}
    one.close()
    two = run(flags, threads=2)
    for name, array in arrays.items():
        assert np.array_equal(getattr(two, name)(0), array), name


@pytest.mark.parametrize(
    ("findings", "changes", "reason"),
    [
        ({"decision": "excluded", "reason": "slices missing"}, {}, "series excluded"),
        ({"uncovered_nodules": ["n1"]}, {}, "outlines without image"),
        ({}, {"source_series_uid": "1.2.99"}, "no images"),
        ({}, {"row0": 300}, "outside the images"),
        ({}, {"position_lps_mm": [-70.0, -50.0, -84.6]}, "outline between slices"),
    ],
)
def test_no_nodule_vanishes_without_a_reason(tmp_path, findings, changes, reason):
    flags = make_inputs(tmp_path, findings=findings, **changes)
    assert len(run(flags)) == 0
    dropped = read_table(flags["--out-dropped"], "dropped_nodules")
    assert dropped[["nodule_id", "reason"]].to_numpy().tolist() == [["n1", reason]]


def test_an_outline_without_a_voxel_is_dropped_with_its_reason(tmp_path):
    outline = [(Z_MM, np.array([ROW, ROW + 1]), np.array([COLUMN, COLUMN]))]
    flags = make_inputs(tmp_path, annotations={"1": (UID, outline)})
    assert len(run(flags)) == 0
    dropped = read_table(flags["--out-dropped"], "dropped_nodules")
    assert dropped["reason"].tolist() == ["no voxel inside"]


def test_an_empty_plan_gives_an_empty_shard(tmp_path):
    flags = make_inputs(tmp_path)
    write_table(read_table(flags["--plan"], "nodules").iloc[:0], flags["--plan"], "nodules", {})
    cubes = run(flags)
    assert len(cubes) == 0
    assert len(read_table(flags["--out-dropped"], "dropped_nodules")) == 0


def no_output(flags):
    return not flags["--out-shard"].exists() and not flags["--out-dropped"].exists()


def test_a_truncated_volume_stops_with_nothing_written(tmp_path):
    flags = make_inputs(tmp_path)
    path = tmp_path / "v.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"v\.nii\.gz"):
        run(flags)
    assert no_output(flags)


def test_contours_of_another_cohort_are_refused(tmp_path):
    flags = make_inputs(tmp_path)
    contours = read_table(flags["--contours"], "contours")
    write_table(contours[contours["annotation_id"] != "3"], flags["--contours"], "contours", {})
    with pytest.raises(InputError, match="lack the annotations 3"):
        run(flags)
    assert no_output(flags)


@pytest.mark.parametrize("flag", ["--plan", "--contours", "--slices"])
def test_a_file_that_is_no_table_is_named(tmp_path, flag):
    flags = make_inputs(tmp_path)
    Path(flags[flag]).write_bytes(b"nothing")
    with pytest.raises(InputError, match=Path(flags[flag]).name):
        run(flags)
    assert no_output(flags)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    flags = make_inputs(tmp_path)
    # /dev/full answers every write with "no space left on device".
    monkeypatch.setattr(
        extract_cubes,
        "ShardWriter",
        lambda _, *args, **more: ShardWriter("/dev/full", *args, **more),
    )
    with pytest.raises(InputError, match="disk filled up"):
        run(flags)
    assert no_output(flags)


def test_help_tells_what_is_read_and_written(capsys):
    with pytest.raises(SystemExit) as stop:
        extract_cubes.main(["--help"])
    assert stop.value.code == 0
    assert "--out-shard" in capsys.readouterr().out
