"""Whether masks lie where the images' edges are: checks that any misplaced mask fails.

Edges of a nodule are where the attenuation just inside its mask differs most from that just
outside. Over a set of nodules this contrast has to be highest with every mask at its stored
place: not shifted along an axis, not mirrored, and not on another nodule's image.

Input is images and masks alone, so phantom and real cubes are judged alike.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from quorum.errors import InputError

AXES = ("z", "y", "x")
SHIFTS_VOX = (-2, -1, 0, 1, 2)
# ASSUME: beyond -1000 to 100 HU contrast says nothing about a nodule's edge in lung (calcium and
# bone would outweigh all else)
HU_RANGE = (-1000.0, 100.0)
# ASSUME: fewer nodules than this prove nothing, as walls and vessels pull single ones aside
MIN_NODULES = 10
# ASSUME: a set's masks may lie up to 0.3 voxels off their edges, or 2.5 standard errors where the
# set is small (readers draw on whole pixels; half of a 1 mm voxel, or half a slice, is beyond it)
MAX_OFFSET_VOX, MAX_OFFSET_SE = 0.3, 2.5
# ASSUME: mirrored masks must have lost contrast at all, exchanged ones by 3 standard errors
# (mirrored where they lie they would gain it; exchanged already, they lose nothing)
MIN_LOSS_SE = {"flip_z": 0.0, "flip_y": 0.0, "flip_x": 0.0, "exchange": 3.0}
NUM_EXCHANGES = 5


class Finding(NamedTuple):
    """The outcome of one check on a set of nodules.

    Attributes
    ----------
    check : str
        Such as `shift_z`, `flip_x`, `exchange`.
    is_passed : bool or None
        None where the set is too small to tell.
    value, limit : float
        What was measured and what bounds it.
    detail : str
        In words.
    """

    check: str
    is_passed: bool | None
    value: float
    limit: float
    detail: str


def alignment_score(image, mask, coverage=None) -> float:
    """Return the contrast across a mask's surface: mean HU one voxel inside less one outside.

    Parameters
    ----------
    image : int16 or float (z, y, x) [HU]
    mask : bool (z, y, x)
    coverage : bool (z, y, x), optional
        Voxels that hold data; the others don't count.

    Returns
    -------
    float
        In HU, of values clipped to -1000 and 100; nan where there is no voxel on either side.
    """
    box = box_around(mask)
    image, mask = np.asarray(image)[box], np.asarray(mask, bool)[box]
    image = np.clip(image.astype(np.float32), *HU_RANGE)
    inner = mask & ~ndimage.binary_erosion(mask, border_value=1)
    outer = ndimage.binary_dilation(mask) & ~mask
    if coverage is not None:
        known = np.asarray(coverage)[box] > 0
        inner, outer = inner & known, outer & known
    if not inner.any() or not outer.any():
        return float("nan")
    return float(image[inner].mean() - image[outer].mean())


def box_around(mask) -> tuple:
    """Return the slices of the smallest box that holds a mask and one voxel around it."""
    box = []
    for axis in range(np.ndim(mask)):
        others = tuple(other for other in range(np.ndim(mask)) if other != axis)
        found = np.flatnonzero(np.any(mask, axis=others))
        if not len(found):
            return (slice(0, 0),) * np.ndim(mask)
        box.append(slice(max(int(found[0]) - 1, 0), int(found[-1]) + 2))
    return tuple(box)


def shifted(mask: np.ndarray, axis: int, vox: int) -> np.ndarray:
    """Return a mask moved by whole voxels along an axis; what leaves the cube is lost."""
    moved = np.zeros_like(mask)
    take, put = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
    take[axis] = slice(max(-vox, 0), mask.shape[axis] - max(vox, 0))
    put[axis] = slice(max(vox, 0), mask.shape[axis] - max(-vox, 0))
    moved[tuple(put)] = mask[tuple(take)]
    return moved


def nodule_scores(image, mask, coverage=None) -> dict:
    """Return one nodule's contrast with its mask in place, shifted and mirrored.

    Returns
    -------
    dict of str to float
        `own`; `z-2` .. `x+2`; `flip_z`, `flip_y`, `flip_x`: mirrored about the cube's middle.
    """
    mask = np.asarray(mask, bool)
    scores = {"own": alignment_score(image, mask, coverage)}
    for axis, name in enumerate(AXES):
        for vox in SHIFTS_VOX:
            if vox:
                moved = shifted(mask, axis, vox)
                scores[f"{name}{vox:+d}"] = alignment_score(image, moved, coverage)
        scores[f"flip_{name}"] = alignment_score(image, np.flip(mask, axis), coverage)
    return scores


def peak_offset(values) -> float:
    """Return where a curve over SHIFTS_VOX is highest, between the places by a parabola [voxel].

    Parameters
    ----------
    values : float (5,)
        Contrast at each shift of the mask.
    """
    best = int(np.argmax(values))
    if best in (0, len(values) - 1):
        return float(SHIFTS_VOX[best])
    left, middle, right = values[best - 1 : best + 2]
    bend = left - 2 * middle + right
    return float(SHIFTS_VOX[best] + (0.5 * (left - right) / bend if bend else 0.0))


def judge_alignment(images: list, masks: list, coverages: list | None = None) -> list:
    """Return what the checks find on a set of nodules.

    Parameters
    ----------
    images : list of array (z, y, x) [HU]
    masks : list of bool array (z, y, x)
        In the same order; readers' consensus or a true surface.
    coverages : list of array (z, y, x), optional

    Returns
    -------
    list of Finding
        `shift_z`, `shift_y`, `shift_x`: the set's masks lie within 0.3 voxels of the edges (or 2.5
        standard errors, which is `limit`);
        `flip_z`, `flip_y`, `flip_x`: mirrored masks fit worse; `exchange`: the masks of other
        nodules fit worse.

    Raises
    ------
    InputError
        When the lists differ in length.
    """
    if coverages is None:
        coverages = [None] * len(images)
    if not len(images) == len(masks) == len(coverages):
        raise InputError(
            f"{len(images)} images, {len(masks)} masks and {len(coverages)} coverages came in",
            "one of each a nodule",
            "pass lists of one length",
        )
    scores = []
    trios = zip(images, masks, coverages, strict=True)
    for (image, mask, coverage), others in zip(trios, exchanged_masks(masks), strict=True):
        found = [alignment_score(image, other, coverage) for other in others]
        mean = float(np.nanmean(found)) if np.isfinite(found).any() else np.nan
        scores.append({**nodule_scores(image, mask, coverage), "exchange": mean})
    findings = [judge_shift(name, scores) for name in AXES]
    findings += [judge_loss(f"flip_{name}", scores) for name in AXES]
    return [*findings, judge_loss("exchange", scores)]


def exchanged_masks(masks: list) -> list:
    """Return for each nodule the masks of up to 5 others, those next in the set."""
    count = len(masks)
    steps = range(1, min(NUM_EXCHANGES, count - 1) + 1)
    return [[masks[(index + step) % count] for step in steps] for index in range(count)]


def judge_shift(axis: str, scores: list) -> Finding:
    """Return whether the masks' best place along an axis is where they are."""
    names = [f"{axis}{vox:+d}" if vox else "own" for vox in SHIFTS_VOX]
    table = np.array([[score[name] for name in names] for score in scores]).reshape(-1, len(names))
    table = table[np.isfinite(table).all(axis=1)]
    if len(table) < MIN_NODULES:
        return too_few(f"shift_{axis}", len(table), MAX_OFFSET_VOX)
    # Faint nodules count as much as dense ones.
    table = table / np.maximum(np.abs(table).max(axis=1, keepdims=True), 1.0)
    offset, error = peak_offset(table.mean(axis=0)), offset_error(table)
    limit = max(MAX_OFFSET_VOX, MAX_OFFSET_SE * error)
    detail = f"the masks of {len(table)} nodules fit best {offset:+.2f} voxels away in {axis}"
    return Finding(f"shift_{axis}", bool(abs(offset) <= limit), offset, limit, detail)


def offset_error(table: np.ndarray) -> float:
    """Return the standard error of the peak's place, by leaving out each nodule in turn [voxel].

    Source: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, eq. 3.5.
    """
    count, total = len(table), table.sum(axis=0)
    places = np.array([peak_offset((total - row) / (count - 1)) for row in table])
    return float(np.sqrt((count - 1) / count * ((places - places.mean()) ** 2).sum()))


def judge_loss(check: str, scores: list) -> Finding:
    """Return whether masks that were mirrored or exchanged fit worse than the stored ones."""
    pairs = np.array([[score["own"], score[check]] for score in scores]).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < MIN_NODULES:
        return too_few(check, len(pairs), MIN_LOSS_SE[check])
    loss = pairs[:, 0] - pairs[:, 1]
    error = max(float(loss.std(ddof=1)) / np.sqrt(len(loss)), 1e-6)
    value = float(loss.mean() / error)
    detail = f"contrast falls by {loss.mean():.0f} HU on average over {len(loss)} nodules"
    return Finding(check, bool(value >= MIN_LOSS_SE[check]), value, MIN_LOSS_SE[check], detail)


def too_few(check: str, count: int, limit: float) -> Finding:
    """Return the finding on a set that is too small to tell."""
    detail = f"{count} nodules; at least {MIN_NODULES} are needed to tell"
    return Finding(check, None, float("nan"), limit, detail)


def is_aligned(cubes, consensus="majority") -> tuple:
    """Return whether the masks of a set of cubes lie on their images' edges, and the findings.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    consensus : str or float
        Which mask of the readers to judge.

    Returns
    -------
    is_passed : bool or None
        False when any check fails; None when none could be made.
    findings : list of Finding
    """
    from quorum.consensus import consensus_mask

    images, masks, coverages = [], [], []
    for index in range(len(cubes)):
        count = int(cubes.num_readers[index])
        staple = cubes.staple(index) if consensus == "staple" else None
        images.append(cubes.image(index))
        masks.append(consensus_mask(cubes.readers(index), count, staple, consensus))
        coverages.append(cubes.coverage(index))
    findings = judge_alignment(images, masks, coverages)
    outcomes = [finding.is_passed for finding in findings if finding.is_passed is not None]
    return (all(outcomes) if outcomes else None), findings
