"""Overlap and surface distances: known answers, and MONAI's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum.surface_metrics import (
    compare_masks,
    dice,
    hd95_mm,
    hd95_pooled_mm,
    iou,
    surface,
    surface_dice,
    surface_distances,
    tight_box,
)

SPACING_MM = (2.5, 0.7, 0.8)


def block(shape, box) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*ends) for ends in box)] = True
    return mask


def blobs(seed: int, shape=(9, 14, 13)) -> np.ndarray:
    """A random, ragged, connected-ish shape that stays off the border."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.2)
    mask = noise > np.quantile(noise, 0.7)
    mask[[0, -1]] = mask[:, [0, -1]] = mask[:, :, [0, -1]] = False
    return mask


def test_equal_masks():
    mask = blobs(0)
    found = compare_masks(mask, mask, SPACING_MM)
    assert found == {"dice": 1, "iou": 1, "hd95_mm": 0, "assd_mm": 0, "is_empty_mask": False}


def test_a_plate_moved_along_each_axis():
    plate = block((12, 12, 12), ((5, 6), (5, 6), (5, 6)))
    for axis, spacing in enumerate(SPACING_MM):
        found = compare_masks(plate, np.roll(plate, 2, axis=axis), SPACING_MM)
        assert found["hd95_mm"] == pytest.approx(2 * spacing)
        assert found["assd_mm"] == pytest.approx(2 * spacing)
        assert found["dice"] == 0


def test_half_overlap():
    a, b = block((3, 3, 9), ((1, 2), (1, 2), (1, 5))), block((3, 3, 9), ((1, 2), (1, 2), (3, 7)))
    assert dice(a, b) == pytest.approx(0.5)
    assert iou(a, b) == pytest.approx(1 / 3)


def test_empty_masks():
    empty, full = np.zeros((4, 4, 4), bool), block((4, 4, 4), ((1, 3), (1, 3), (1, 3)))
    one, both = compare_masks(empty, full, SPACING_MM), compare_masks(empty, empty, SPACING_MM)
    assert (one["dice"], one["iou"], one["is_empty_mask"]) == (0, 0, True)
    assert np.isnan([one["hd95_mm"], one["assd_mm"]]).all()
    assert np.isnan([both[name] for name in ("dice", "iou", "hd95_mm", "assd_mm")]).all()
    assert both["is_empty_mask"]


@pytest.mark.parametrize("seed", range(25))
def test_distances_are_monais(seed):
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    a, b = blobs(2 * seed), blobs(2 * seed + 1)
    found = compare_masks(a, b, SPACING_MM)
    tensors = [torch.from_numpy(mask)[None, None] for mask in (a, b)]
    options = {"include_background": True, "spacing": SPACING_MM}
    hd95 = compute_hausdorff_distance(*tensors, percentile=95, **options)
    assd = compute_average_surface_distance(*tensors, symmetric=True, **options)
    assert found["hd95_mm"] == pytest.approx(float(hd95), rel=1e-5)
    assert found["assd_mm"] == pytest.approx(float(assd), rel=1e-5)


@pytest.mark.parametrize("tolerance_mm", [0.0, 0.6, 1.0, 2.5])
def test_surface_dice_and_overlap_are_monais(tolerance_mm):
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_dice, compute_iou, compute_surface_dice

    for seed in range(8):
        a, b = blobs(seed), blobs(seed + 100)
        masks = [np.stack([~mask, mask])[None].astype(np.float32) for mask in (a, b)]
        pair = [torch.from_numpy(mask) for mask in masks]
        theirs = compute_surface_dice(*pair, class_thresholds=[tolerance_mm], spacing=SPACING_MM)
        ours = surface_dice(*surface_distances(a, b, SPACING_MM), tolerance_mm)
        assert ours == pytest.approx(float(theirs), abs=1e-6)
        assert dice(a, b) == pytest.approx(float(compute_dice(*pair, include_background=False)))
        assert iou(a, b) == pytest.approx(float(compute_iou(*pair, include_background=False)))


def test_pooled_and_directed_hd95_differ_as_their_definitions_say():
    # All of the small surface is on the large one; a tenth of the large one is 5 mm away.
    a_to_b, b_to_a = np.zeros(100), np.r_[np.zeros(90), np.full(10, 5.0)]
    assert hd95_mm(a_to_b, b_to_a) == pytest.approx(5)
    assert hd95_pooled_mm(a_to_b, b_to_a) == pytest.approx(np.percentile([0] * 190 + [5] * 10, 95))
    assert hd95_pooled_mm(a_to_b, b_to_a) < hd95_mm(a_to_b, b_to_a)
    assert np.isnan(hd95_pooled_mm(np.empty(0), np.empty(0)))
    assert np.isnan(surface_dice(np.empty(0), np.empty(0), 1.0))


def test_surface_is_monais_edge():
    pytest.importorskip("torch")
    from monai.metrics.utils import get_mask_edges

    a = blobs(3)
    a[:, :2] = True  # touches the border, which counts as outside
    edges, _ = get_mask_edges(a, a, crop=False)
    np.testing.assert_array_equal(surface(a), np.asarray(edges))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_symmetry_bounds_and_padding(seed_a, seed_b):
    a, b = blobs(seed_a), blobs(seed_b)
    there, back = compare_masks(a, b, SPACING_MM), compare_masks(b, a, SPACING_MM)
    assert there == pytest.approx(back)
    assert there["iou"] == pytest.approx(there["dice"] / (2 - there["dice"]))
    assert there["hd95_mm"] >= 0
    padded = compare_masks(np.pad(a, 3), np.pad(b, 3), SPACING_MM)
    assert padded == pytest.approx(there)


def test_the_border_is_surface_unless_the_region_ends_there():
    mask = np.ones((3, 4, 5), bool)
    assert surface(mask).sum() == 60 - 1 * 2 * 3
    assert surface(mask, np.ones_like(mask)).sum() == 0
    region = block((3, 4, 5), ((0, 3), (0, 4), (0, 3)))
    assert surface(mask & region, region).sum() == 0
    thin = block((3, 4, 5), ((0, 3), (0, 4), (0, 2)))
    expected = block((3, 4, 5), ((0, 3), (0, 4), (1, 2)))
    np.testing.assert_array_equal(surface(thin, region), expected)


def test_nothing_outside_the_region_is_counted():
    a, b = blobs(5), blobs(6)
    region = block(a.shape, ((2, 7), (0, 14), (3, 9)))
    before = compare_masks(a, b, SPACING_MM, region=region)
    noise = np.random.default_rng(0).random(a.shape) > 0.5
    after = compare_masks(a | (noise & ~region), b & region, SPACING_MM, region=region)
    assert before == after


def test_masks_that_fill_the_region_have_no_distance():
    mask = np.ones((3, 3, 3), bool)
    found = compare_masks(mask, mask, SPACING_MM, region=mask)
    assert found["dice"] == 1
    assert np.isnan(found["hd95_mm"])
    assert not found["is_empty_mask"]


def test_uneven_slices():
    a, b = block((4, 3, 3), ((0, 1), (1, 2), (1, 2))), block((4, 3, 3), ((3, 4), (1, 2), (1, 2)))
    z_mm = np.array([0.0, 1.0, 2.0, 40.0])
    assert compare_masks(a, b, SPACING_MM, slice_z_mm=z_mm)["assd_mm"] == 40
    even = compare_masks(a, b, SPACING_MM, slice_z_mm=2.5 * np.arange(4))
    assert even == compare_masks(a, b, SPACING_MM)


def test_masks_without_geometry_are_refused():
    mask = blobs(1)
    with pytest.raises(ValueError, match="one \\(z, y, x\\)"):
        surface_distances(mask, mask[1:], SPACING_MM)
    with pytest.raises(ValueError, match="three positive"):
        surface_distances(mask, mask, (1.0, 0.0, 1.0))


def test_tight_box_of_nothing_is_valid():
    assert np.zeros((3, 3, 3))[tight_box(np.zeros((3, 3, 3), bool))].shape == (2, 2, 2)
