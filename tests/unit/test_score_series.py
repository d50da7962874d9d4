"""Answers on other data are scored as the project's own: known shapes, and bad input."""

import numpy as np
import pandas as pd
import pytest
import score_series
import SimpleITK as sitk

from quorum.errors import InputError
from quorum.scoring import reference_masks, score_nodule
from quorum.tables import read_table, write_table

SHAPE = (40, 50, 60)
ORIGIN = np.array([-20.0, 15.0, -100.0])
RUN = {"experiment": "unet3d", "fold": 0, "seed": 0, "series_uid": "1.2", "data_kind": "scan"}


def ball(center, radius, shape=SHAPE):
    """Return a ball on a grid of 1 mm."""
    places = np.indices(shape) - np.array(center)[:, None, None, None]
    return (places**2).sum(0) <= radius**2


def write(path, mask, *, spacing=1.0, origin=ORIGIN, flips=(1, 1, 1)):
    """Write a mask in its place, axes reversed where told; return its path."""
    sides = np.array(mask.shape[::-1]) - 1
    signs = np.array(flips[::-1])
    array = mask[:: flips[0], :: flips[1], :: flips[2]].astype(np.uint8)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing((spacing,) * 3)
    image.SetOrigin(np.where(signs < 0, origin + sides * spacing, origin))
    image.SetDirection(np.diag(signs).astype(float).ravel())
    sitk.WriteImage(image, str(path))
    return str(path)


def predicted(folder, regions: dict):
    """Write what predict_series would: region to (mask, click in voxels or None)."""
    folder.mkdir()
    rows = []
    for name, (mask, click) in regions.items():
        write(folder / f"{name}.mask.nii.gz", mask)
        point = None if click is None else (ORIGIN + np.array(click[::-1])).tolist()
        rows.append({**RUN, "region": name, "point_lps_mm": point, "num_parts": int(mask.any())})
    write_table(pd.DataFrame(rows), folder / "regions.csv", "predicted_regions", {})
    return folder


def scores(folder, masks, *words):
    """Run the script; return its table."""
    out = folder.parent / "scores.csv"
    flags = ["--predictions", str(folder), "--masks", *masks, "--out-scores", str(out), *words]
    score_series.main(flags)
    return read_table(out, "external_scores")


def of_model(table, reference="consensus"):
    """Return the model's rows against one reference."""
    return table[(table["subject"] == "model") & (table["reference"] == reference)]


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_point_has_what_score_nodule_gives_whatever_the_files_axes(tmp_path, flips):
    marks = [ball((20, 25, 30), radius) for radius in (6, 7, 8)]
    far = ball((8, 8, 8), 3)
    answer = ball((20, 26, 30), 7)
    masks = [write(tmp_path / f"r{k}.nii.gz", m | far, flips=flips) for k, m in enumerate(marks)]
    table = scores(predicted(tmp_path / "p", {"point1": (answer, (20, 25, 30))}), masks)
    bits = sum(m.astype(np.uint8) << k for k, m in enumerate(marks)).astype(np.uint8)
    expected = score_nodule(
        {0.0: answer}, reference_masks(bits, 3), coverage=np.ones(SHAPE, bool), spacing_mm=1.0
    )
    assert len(table) == len(expected)
    for row, other in zip(table.to_dict("records"), expected, strict=True):
        assert (row["subject"], row["reference"]) == (other["subject"], other["reference"])
        for measure in ("dice", "iou", "hd95_mm", "assd_mm", "surface_dice_1mm", "volume_mm3"):
            assert row[measure] == pytest.approx(other[measure])
    assert table["num_readers"].unique() == [3]
    assert table["lesion"].unique() == [1]
    assert table["diameter_mm"].iloc[0] == pytest.approx(14, abs=0.3)
    center = np.array(table["center_lps_mm"].iloc[0])
    assert center == pytest.approx([10, 40, -80], abs=0.01)


def test_a_scan_has_each_lesion_its_parts_and_what_touches_none(tmp_path):
    lesions = ball((20, 25, 15), 6) | ball((20, 25, 45), 4) | ball((8, 8, 8), 3)
    answer = ball((20, 25, 15), 6) | ball((22, 25, 45), 4) | ball((35, 40, 8), 2)
    mask = write(tmp_path / "mask.nrrd", lesions)
    table = scores(predicted(tmp_path / "p", {"scan": (answer, None)}), [mask])
    rows = of_model(table).sort_values("lesion")
    assert rows["lesion"].tolist() == [1, 2, 3]
    assert rows["num_parts"].tolist() == [1, 1, 0]
    assert set(rows["num_other_parts"]) == {1}
    assert rows["dice"].iloc[0] == 1
    assert 0 < rows["dice"].iloc[1] < 1
    missed = rows.iloc[2]
    assert (missed["dice"], missed["is_hit"], missed["is_penalized"]) == (0, False, True)
    assert missed["hd95_mm"] == missed["penalty_mm"] == pytest.approx(np.linalg.norm(SHAPE))
    # One reader has no others, and no pair.
    assert set(table["subject"]) == {"model"}
    assert set(table["reference"]) == {"consensus", "reader1"}


def test_finer_masks_keep_their_volume_and_lesions_beyond_the_region_say_so(tmp_path):
    fine = ball((60, 60, 60), 12, (120, 120, 120))  # radius 6 mm at 0.5 mm
    mask = write(tmp_path / "m.mha", fine, spacing=0.5)
    folder = predicted(tmp_path / "p", {"point1": (ball((30, 30, 30), 6), (30, 30, 30))})
    row = of_model(scores(folder, [mask])).iloc[0]
    volume = row["volume_mm3"] - row["volume_error_mm3"]
    assert volume == pytest.approx(fine.sum() / 8, abs=1)
    assert row["dice"] > 0.97
    assert not row["is_truncated"]
    edge = write(tmp_path / "e.mha", ball((10, 60, 60), 12, (120, 120, 120)), spacing=0.5,
                 origin=ORIGIN - [0, 0, 5])  # fmt: skip
    row = of_model(scores(folder, [edge])).iloc[0]
    assert row["is_truncated"]


def test_what_no_mask_covers_is_not_scored(tmp_path):
    mask = write(tmp_path / "m.nii.gz", ball((20, 25, 30), 6)[:, :, :40])
    folder = predicted(tmp_path / "p", {"scan": (ball((20, 25, 30), 6), None)})
    beyond = ball((20, 25, 30), 6) | ball((20, 25, 55), 4)
    (tmp_path / "q").mkdir()
    wider = predicted(tmp_path / "q" / "p", {"point1": (beyond, (20, 25, 30))})
    assert of_model(scores(folder, [mask]))["dice"].tolist() == [1]
    assert of_model(scores(wider, [mask]))["dice"].tolist() == [1]


def test_bad_input_is_one_sentence(tmp_path):
    folder = predicted(tmp_path / "p", {"scan": (ball((20, 25, 30), 6), None)})
    mask = write(tmp_path / "m.nii.gz", ball((20, 25, 30), 6))
    other = write(tmp_path / "o.nii.gz", ball((20, 25, 30), 6), origin=ORIGIN + 1)
    empty = write(tmp_path / "e.nii.gz", np.zeros(SHAPE))
    (tmp_path / "t.nii.gz").write_text("no image")
    for masks, words in (
        ([mask, other], "another grid"), ([empty], "masks are empty"),
        ([str(tmp_path / "t.nii.gz")], "can't be read"), ([mask] * 9, "9 masks"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            scores(folder, masks)
    with pytest.raises(InputError, match=r"no regions\.csv"):
        scores(tmp_path, [mask])
    with pytest.raises(InputError, match="consensus staple"):
        scores(folder, [mask], "--consensus", "staple")
    turned = sitk.ReadImage(mask)
    turned.SetDirection((0.9, -0.4359, 0, 0.4359, 0.9, 0, 0, 0, 1))
    sitk.WriteImage(turned, str(tmp_path / "turned.nrrd"))
    with pytest.raises(InputError, match="parallel to"):
        scores(folder, [str(tmp_path / "turned.nrrd")])
