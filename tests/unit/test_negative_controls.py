"""Misplaced masks fail: the checks of quorum.alignment on phantom cubes, and on real ones."""

import check_series
import extract_cubes
import numpy as np
import pytest
import simulate_series
from phantom_inputs import write_inputs
from scipy import ndimage

from quorum.alignment import (
    AXES,
    MIN_NODULES,
    alignment_score,
    is_aligned,
    judge_alignment,
    peak_offset,
    shifted,
)
from quorum.consensus import consensus_mask
from quorum.errors import InputError
from quorum.shards import open_shards

# Three nodules each, in both lungs, free and attached as the scanner decides.
PLACES = ((280, 120), (230, 160), (270, 385))


def scan_of(number: int) -> dict:
    """Return a made-up scan with three nodules; one in four runs against x and y."""
    patient_id = "LIDC-IDRI-0291" if number == 0 else f"LIDC-IDRI-{number:04d}"
    spacing_mm = (1.25, 2.0, 2.5, 3.0)[number % 4]
    nodules = [
        {
            "row": row + 5 * number,
            "column": column,
            "z_mm": -200.0 + 4 * (number % 3),
            "radius_mm": 5.0 + (number * 3 + place) % 6,
            "texture": (5.0, 4.0, 2.0)[(number + place) % 3],
        }
        for place, (row, column) in enumerate(PLACES)
    ]
    return {
        "patient_id": patient_id,
        "z_mm": np.arange(-350.0, -50.0, spacing_mm),
        "pixel_mm": 0.6 + 0.05 * number,
        "thickness_mm": spacing_mm,
        "nodules": nodules,
    }


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Return the cubes of twelve phantom nodules, made by the pipeline's own scripts."""
    folder = tmp_path_factory.mktemp("controls")
    paths = write_inputs(folder, [scan_of(number) for number in range(4)])
    files, findings = folder / "files.csv", folder / "findings.csv"
    slices, shard = folder / "series_slices.parquet", folder / "shard00.h5"
    simulate_series.main(
        [f"--{name}={path}" for name, path in paths.items()]
        + ["--noise-hu=25", "--seed=0", f"--out-folder={folder / 'dicom'}", f"--out-files={files}"]
    )
    check_series.main(
        [f"--{name}={paths[name]}" for name in ("plan", "series", "slices")]
        + [f"--files={files}", "--root=", "--max-spacing-deviation=0.02", "--max-tilt-deg=0.5"]
        + [f"--out-findings={findings}", f"--out-slices={slices}"]
    )
    inputs = {"plan": paths["plan"], "contours": paths["contours"], "slices": slices}
    inputs |= {"findings": findings, "out-shard": shard, "out-dropped": folder / "dropped.csv"}
    extract_cubes.main([f"--{name}={path}" for name, path in inputs.items()])
    return open_shards([shard])


@pytest.fixture(scope="module")
def sets(cubes):
    """Return the images, the readers' consensus, the true surfaces and the coverages."""
    indices = range(len(cubes))
    counts = [int(count) for count in cubes.num_readers]
    return {
        "images": [cubes.image(index) for index in indices],
        "consensus": [
            consensus_mask(cubes.readers(index), counts[index], None, "majority")
            for index in indices
        ],
        "latent": [cubes.latent(index) > 0 for index in indices],
        "coverages": [cubes.coverage(index) for index in indices],
    }


def failed(sets, masks) -> set:
    """Return the names of the checks that these masks fail."""
    findings = judge_alignment(sets["images"], masks, sets["coverages"])
    assert all(finding.is_passed is not None for finding in findings)
    return {finding.check for finding in findings if not finding.is_passed}


def dice(one, other) -> float:
    """Return the Dice of two masks."""
    return 2 * np.count_nonzero(one & other) / max(one.sum() + other.sum(), 1)


def test_every_nodule_became_a_cube(cubes):
    assert len(cubes) == 12
    assert cubes.data_kind == "phantom"


@pytest.mark.parametrize("subject", ["consensus", "latent"])
def test_masks_in_place_pass(cubes, sets, subject):
    assert failed(sets, sets[subject]) == set()
    if subject == "consensus":
        is_passed, findings = is_aligned(cubes)
        assert is_passed is True
        assert len(findings) == 7


@pytest.mark.parametrize("subject", ["consensus", "latent"])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("vox", [-1, 1])
def test_masks_shifted_by_one_voxel_fail(sets, subject, axis, vox):
    masks = [shifted(mask, axis, vox) for mask in sets[subject]]
    assert f"shift_{AXES[axis]}" in failed(sets, masks)


@pytest.mark.parametrize("subject", ["consensus", "latent"])
@pytest.mark.parametrize("axis", range(3))
def test_a_flipped_axis_fails(sets, subject, axis):
    masks = [np.flip(mask, axis) for mask in sets[subject]]
    assert f"flip_{AXES[axis]}" in failed(sets, masks)


@pytest.mark.parametrize("subject", ["consensus", "latent"])
def test_masks_of_other_nodules_fail(sets, subject):
    assert "exchange" in failed(sets, sets[subject][1:] + sets[subject][:1])


@pytest.mark.parametrize("subject", ["consensus", "latent"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_half_a_slice_of_offset_fails(cubes, sets, subject, sign):
    halves = sign * cubes.native_spacing_mm[:, 0] / 2 / cubes.spacing_mm
    masks = [
        ndimage.shift(mask.astype(np.float32), (half, 0, 0), order=1) >= 0.5
        for mask, half in zip(sets[subject], halves, strict=True)
    ]
    assert "shift_z" in failed(sets, masks)


def test_agreement_with_the_true_surface_falls_with_every_control(sets):
    def agreement(masks):
        return np.mean([dice(m, t) for m, t in zip(masks, sets["latent"], strict=True)])

    masks = sets["consensus"]
    own = agreement(masks)
    assert own > 0.8
    for axis in range(3):
        assert agreement([shifted(mask, axis, 1) for mask in masks]) < own - 0.02
        assert agreement([np.flip(mask, axis) for mask in masks]) < own - 0.02
    assert agreement(masks[1:] + masks[:1]) < own - 0.2


def test_readers_left_and_right_of_the_patient_are_told_apart(cubes, sets):
    # Patient 0291's rows and columns run against y and x: unturned, its masks would be mirrored.
    turned = np.flatnonzero(cubes.patient_id == "LIDC-IDRI-0291")
    assert len(turned) == 3
    for index in turned:
        image, mask = sets["images"][index], sets["consensus"][index]
        own = alignment_score(image, mask)
        assert own > alignment_score(image, np.flip(mask, (1, 2))) > 0


def test_too_few_nodules_are_not_judged(sets):
    few = MIN_NODULES - 1
    findings = judge_alignment(sets["images"][:few], sets["consensus"][:few])
    assert {finding.is_passed for finding in findings} == {None}


def test_lists_of_different_length_are_refused(sets):
    with pytest.raises(InputError, match="12 images, 11 masks"):
        judge_alignment(sets["images"], sets["consensus"][1:])


def test_contrast_of_a_known_box():
    image = np.full((9, 9, 9), -800, np.int16)
    mask = np.zeros(image.shape, bool)
    mask[3:6, 3:6, 3:6] = True
    image[mask] = 0
    assert alignment_score(image, mask) == 800.0
    assert alignment_score(image, shifted(mask, 2, 1)) < 800.0
    assert np.isnan(alignment_score(image, np.zeros_like(mask)))
    assert np.isnan(alignment_score(image, mask, coverage=np.zeros_like(mask)))


def test_the_peak_of_a_parabola_is_found():
    for place in (-0.4, 0.0, 0.25):
        values = [-((shift - place) ** 2) for shift in (-2, -1, 0, 1, 2)]
        np.testing.assert_allclose(peak_offset(values), place, atol=1e-12)
    assert peak_offset([5, 4, 3, 2, 1]) == -2.0
