"""Scores of one nodule: model and readers against every reference, on one grid and region."""

import numpy as np

from quorum.consensus import consensus_mask, others_mask, reader_mask
from quorum.surface_metrics import compare_masks, dice, iou

MODEL, CONSENSUS, LATENT = "model", "consensus", "latent"


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

    Each reader against the majority of the others, then every pair of readers once.
    """
    if num_readers < 2:
        return []
    others = [(f"reader{k}", f"others{k}") for k in range(1, num_readers + 1)]
    return others + [
        (f"reader{a}", f"reader{b}")
        for a in range(1, num_readers + 1)
        for b in range(a + 1, num_readers + 1)
    ]


def score_nodule(predicted: dict, references: dict, *, coverage, spacing_mm: float) -> list:
    """Return a nodule's rows: one an offset, subject and reference.

    Parameters
    ----------
    predicted : dict
        Offset in mm to the model's mask, bool (z, y, x). The smallest offset gets every measure
        against every reference; the others Dice and IoU against the consensus.
    references : dict
        Of `reference_masks`.
    coverage : bool (z, y, x)
        The only voxels that are scored; its border and the cube's are no surface.
    spacing_mm : float
        Of the cubic voxels.

    Returns
    -------
    list of dict
        offset_mm, subject, reference and the measures.
    """
    window = common_box([*predicted.values(), *references.values()])
    known = coverage[window]
    models = {offset: mask[window] & known for offset, mask in predicted.items()}
    masks = {name: mask[window] & known for name, mask in references.items()}
    num_readers = sum(name.startswith("reader") for name in masks)
    first, rows = min(models), []
    for name in masks:
        pair = (models[first], masks[name])
        rows.append({"offset_mm": first, "subject": MODEL, "reference": name})
        rows[-1] |= all_measures(*pair, known=known, spacing_mm=spacing_mm)
    for subject, reference in readers_pairs(num_readers):
        pair = (masks[subject], masks[reference])
        rows.append({"offset_mm": 0.0, "subject": subject, "reference": reference})
        rows[-1] |= all_measures(*pair, known=known, spacing_mm=spacing_mm)
    for offset in sorted(models)[1:]:
        rows.append({"offset_mm": offset, "subject": MODEL, "reference": CONSENSUS})
        rows[-1] |= overlap_measures(models[offset], masks[CONSENSUS], spacing_mm)
    return rows


def overlap_measures(mask, reference, spacing_mm: float) -> dict:
    """Return Dice, IoU and volumes of two masks; surface distances are missing."""
    volume, other = int(mask.sum()) * spacing_mm**3, int(reference.sum()) * spacing_mm**3
    return {
        "dice": dice(mask, reference),
        "iou": iou(mask, reference),
        "hd95_mm": float("nan"),
        "assd_mm": float("nan"),
        "volume_mm3": volume,
        "volume_error_mm3": volume - other,
        "is_empty": not (volume and other),
    }


def all_measures(mask, reference, *, known, spacing_mm: float) -> dict:
    """Return every measure of two masks inside the known voxels."""
    both = compare_masks(mask, reference, (spacing_mm,) * 3, region=known)
    distances = {key: both[key] for key in ("hd95_mm", "assd_mm")}
    return overlap_measures(mask, reference, spacing_mm) | distances


def common_box(masks) -> tuple:
    """Return slices of the box around all masks, one voxel wider where the cube allows.

    The wider voxel keeps a mask's surface inside the box, so cutting changes no measure.
    """
    union = np.logical_or.reduce(masks)
    if not union.any():
        return (slice(0, 1),) * 3
    box = []
    for axis in range(3):
        at = np.flatnonzero(union.any(axis=tuple(k for k in range(3) if k != axis)))
        box.append(slice(max(0, at[0] - 1), at[-1] + 2))
    return tuple(box)
