"""Scores of one nodule: model and readers against every reference, on one grid and region."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from quorum.consensus import consensus_mask, others_mask, reader_mask
from quorum.surface_metrics import (
    assd_mm,
    dice,
    hd95_mm,
    hd95_pooled_mm,
    iou,
    surface,
    surface_dice,
)

MODEL, CONSENSUS, LATENT = "model", "consensus", "latent"
NAN = float("nan")
# ASSUME: a nodule is hit when the IoU with the reference is at least 0.1 (the overlap at which
# nnDetection, arXiv 2106.00817, counts a nodule as found on LUNA16).
HIT_IOU = 0.1
# ASSUME: surface Dice at 1 mm, the spacing of the grid: finer is not resolved (choice).
TOLERANCE_MM = 1.0
DISTANCES = ("hd95_mm", "hd95_pooled_mm", "assd_mm", "center_distance_mm")
SURFACE_SHARES = ("surface_dice_1mm", "surface_dice_readers")


@dataclass(frozen=True)
class Outline:
    """A mask inside what is covered, with what its measures need, made once for all pairs.

    Attributes
    ----------
    mask : bool (z, y, x)
    center_mm : float (3,)
        Centre of mass in the window; nan when it is empty.
    surface : bool (z, y, x)
    distance_mm : float (z, y, x) or None
        To its nearest surface voxel; None without one.
    """

    mask: np.ndarray
    center_mm: np.ndarray
    surface: np.ndarray
    distance_mm: np.ndarray | None


def reference_masks(readers, num_readers: int, *, staple=None, latent=None, consensus="majority"):
    """Return every reference of a nodule by name: bool (z, y, x) each.

    Returns
    -------
    dict
        consensus, reader1 .., others1 .. (with at least 2 readers), latent (phantoms).
    """
    masks = {CONSENSUS: consensus_mask(readers, num_readers, staple, consensus)}
    for k in range(num_readers):
        masks[f"reader{k + 1}"] = reader_mask(readers, num_readers, k)
    for k in range(num_readers if num_readers > 1 else 0):
        masks[f"others{k + 1}"] = others_mask(readers, num_readers, k)
    if latent is not None:
        masks[LATENT] = np.asarray(latent) > 0
    return masks


def readers_pairs(num_readers: int) -> list:
    """Return what readers are scored against: (subject, reference) names.

    Each reader against the majority of the others, against the consensus (of which it is part),
    then every pair of readers once.
    """
    if num_readers < 2:
        return []
    numbers = range(1, num_readers + 1)
    return [
        *((f"reader{k}", f"others{k}") for k in numbers),
        *((f"reader{k}", CONSENSUS) for k in numbers),
        *((f"reader{a}", f"reader{b}") for a in numbers for b in numbers if a < b),
    ]


def cube_diagonal_mm(shape, spacing_mm: float) -> float:
    """Return the diagonal of a cube.

    # ASSUME: where one of two masks is empty, a distance is the diagonal of the stored cube, the
    # largest one that could be measured, as challenges use the image's (Maier-Hein 2024,
    # 10.1038/s41592-023-02151-z: a missing value would reward an empty answer).
    """
    return float(np.linalg.norm(shape) * spacing_mm)


def score_nodule(
    predicted: dict, references: dict, *, coverage, spacing_mm: float, readers_distance_mm=None
) -> list:
    """Return a nodule's rows: one an offset, subject and reference.

    Parameters
    ----------
    predicted : dict
        Offset in mm to the model's mask, bool (z, y, x). The smallest offset gets every measure
        against every reference; the others overlap and volume against the consensus.
    references : dict
        Of `reference_masks`.
    coverage : bool (z, y, x)
        The only voxels that are scored; its border and the cube's are no surface.
    spacing_mm : float
        Of the cubic voxels.
    readers_distance_mm : float, optional
        Second tolerance of the surface Dice.

    Returns
    -------
    list of dict
        offset_mm, subject, reference and the measures.
    """
    window = common_box([*predicted.values(), *references.values()])
    known = coverage[window]
    first, rows = min(predicted), []
    outlines = {
        name: make_outline(mask[window], known, spacing_mm)
        for name, mask in {**references, MODEL: predicted[first]}.items()
    }
    fixed = {
        "spacing_mm": spacing_mm,
        "penalty_mm": cube_diagonal_mm(coverage.shape, spacing_mm),
        "readers_distance_mm": readers_distance_mm,
    }
    num_readers = sum(name.startswith("reader") for name in references)
    pairs = [(MODEL, name, first) for name in references]
    pairs += [(*pair, 0.0) for pair in readers_pairs(num_readers)]
    for subject, reference, offset in pairs:
        rows.append({"offset_mm": offset, "subject": subject, "reference": reference})
        rows[-1] |= all_measures(outlines[subject], outlines[reference], **fixed)
    for offset in sorted(predicted)[1:]:
        rows.append({"offset_mm": offset, "subject": MODEL, "reference": CONSENSUS})
        moved = predicted[offset][window] & known
        rows[-1] |= overlap_measures(moved, outlines[CONSENSUS].mask, spacing_mm)
        rows[-1] |= dict.fromkeys((*DISTANCES, *SURFACE_SHARES), NAN)
    return rows


def make_outline(mask, known, spacing_mm: float) -> Outline:
    """Return a mask inside the known voxels with its surface, distances and centre."""
    mask = mask & known
    found = surface(mask, known)
    distance = distance_transform_edt(~found, sampling=spacing_mm) if found.any() else None
    return Outline(mask, center_of_mass(mask) * spacing_mm, found, distance)


def center_of_mass(mask) -> np.ndarray:
    """Return the mean index of a mask's voxels: float (3,), nan when it is empty."""
    if not mask.any():
        return np.full(3, NAN)
    return np.array([index.mean() for index in np.nonzero(mask)])


def overlap_measures(mask, reference, spacing_mm: float) -> dict:
    """Return Dice, IoU, hit and volumes of two masks."""
    volume, other = int(mask.sum()) * spacing_mm**3, int(reference.sum()) * spacing_mm**3
    overlap = iou(mask, reference)
    return {
        "dice": dice(mask, reference),
        "iou": overlap,
        # Both empty: nothing to find, and nothing was found.
        "is_hit": not overlap < HIT_IOU,
        "volume_mm3": volume,
        "volume_error_mm3": volume - other,
        "volume_error_share": (volume - other) / other if other else NAN,
        "is_empty": not (volume and other),
        "is_penalized": bool(volume) != bool(other),
    }


def all_measures(
    subject: Outline, reference: Outline, *, spacing_mm, penalty_mm, readers_distance_mm
) -> dict:
    """Return every measure of two outlines; distances are the penalty where one is empty."""
    row = overlap_measures(subject.mask, reference.mask, spacing_mm)
    if row["is_penalized"]:
        return row | dict.fromkeys(DISTANCES, penalty_mm) | dict.fromkeys(SURFACE_SHARES, 0.0)
    distances = directed_distances(subject, reference)
    second = NAN if readers_distance_mm is None else surface_dice(*distances, readers_distance_mm)
    return row | {
        "hd95_mm": hd95_mm(*distances),
        "hd95_pooled_mm": hd95_pooled_mm(*distances),
        "assd_mm": assd_mm(*distances),
        "center_distance_mm": float(np.linalg.norm(subject.center_mm - reference.center_mm)),
        "surface_dice_1mm": surface_dice(*distances, TOLERANCE_MM),
        "surface_dice_readers": second,
    }


def directed_distances(one: Outline, other: Outline) -> tuple:
    """Return each surface voxel's distance to the other's surface, both ways; empty without."""
    if one.distance_mm is None or other.distance_mm is None:
        return np.empty(0), np.empty(0)
    return other.distance_mm[one.surface], one.distance_mm[other.surface]


def common_box(masks, margin: int = 1) -> tuple:
    """Return slices of the box around all masks, `margin` voxels wider where the cube allows.

    One voxel keeps a mask's surface inside the box, so cutting changes no measure.
    """
    union = np.logical_or.reduce(masks)
    if not union.any():
        return (slice(0, 1),) * 3
    box = []
    for axis in range(3):
        at = np.flatnonzero(union.any(axis=tuple(k for k in range(3) if k != axis)))
        box.append(slice(max(0, at[0] - margin), at[-1] + margin + 1))
    return tuple(box)


def readers_distance(agreement, patient_of: dict, patients: set) -> float | None:
    """Return the readers' own distance: the median ASSD of pairs of readers, in mm.

    # ASSUME: over the run's training patients, on the native grid, so that the tolerance is no
    # multiple of the evaluation's grid and no scored nodule has a part in it (choice).

    Parameters
    ----------
    agreement : DataFrame
        Table `agreement`.
    patient_of : dict
        Patient by nodule_id.
    patients : set of str
        The training patients.

    Returns
    -------
    float, or None without a pair.
    """
    chosen = agreement["nodule_id"].map(patient_of).isin(patients)
    median = agreement.loc[chosen & (agreement["kind"] == "pair"), "assd_mm"].median()
    return None if np.isnan(median) else float(median)
