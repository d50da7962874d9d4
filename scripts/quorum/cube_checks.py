"""Data checks on cubes: each returns one Check a scope, passed or not, with what was found."""

import re
from typing import NamedTuple

import numpy as np

from quorum.consensus import MAJORITY_LEVEL, STAPLE_THRESHOLD, level_mask

SMALL_DIAMETER_MM = 8.0
# Signed and absolute bias of volume on the grid, by size; the bounds that the masks' rule keeps
# over the 897 nodules of four readers (tests/unit/test_resampling.py).
MAX_SIGNED_BIAS = {"large": 0.01, "small": 0.02}
MAX_ABSOLUTE_BIAS = {"large": 0.03}
# ASSUME: one nodule's bias has a standard deviation of at most 5 % (3.5 % measured for the
# consensus of nodules up to 8 mm), so means over fewer than 100 get three standard errors more.
BIAS_DEVIATION, MANY_NODULES = 0.05, 100
# ASSUME: below -1500 HU nothing was measured (air is -1000, noise reaches -1300).
MIN_HU, MAX_HU = -1500, 32766
# Cut-outs hold exactly the readers' voxels; on the grid a mask's edge can lie half a voxel further.
MAX_UNCOVERED_SHARE = 0.02
# LIDC-IDRI: groups of exactly four annotations by pylidc's rule (FACTS of the collection).
PUBLISHED_COUNT, PUBLISHED_READERS = 897, 4
MAX_NAMED = 5


class Check(NamedTuple):
    """One row of the table checks."""

    check: str
    scope: str
    is_passed: bool
    value: float | None
    limit: float | None
    detail: str


def none_of(check: str, scope: str, offenders: list, meaning: str) -> Check:
    """Return a check that passes when nothing offends; the first offenders are named."""
    named = ", ".join(str(name) for name in offenders[:MAX_NAMED])
    more = f" and {len(offenders) - MAX_NAMED} more" if len(offenders) > MAX_NAMED else ""
    detail = f"{meaning}: {named}{more}" if offenders else meaning
    return Check(check, scope, not offenders, float(len(offenders)), 0.0, detail)


def check_patients(splits, nodules) -> list:
    """Return whether every patient of the cohort is in exactly one part."""
    counts = splits.groupby("patient_id")["part"].nunique()
    twice = sorted(counts.index[counts > 1])
    absent = sorted(set(nodules["patient_id"]) - set(splits["patient_id"]))
    return [
        none_of("patients in one part", "all", twice, "patients in two parts of the split"),
        none_of("patients in the split", "all", absent, "patients of the cohort in no part"),
    ]


def check_counts(nodules, cube_ids, dropped) -> list:
    """Return whether every selected nodule is a cube or was dropped for a reason, once."""
    selected = set(nodules["nodule_id"])
    out = [*cube_ids, *dropped["nodule_id"]]
    vanished = sorted(selected - set(out))
    extra = sorted(set(out) - selected)
    twice = sorted({name for name in out if out.count(name) > 1})
    reasons = dropped["reason"].value_counts().sort_index()
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none dropped"
    return [
        none_of("no nodule vanishes", "all", vanished, "selected, neither cube nor dropped"),
        none_of("no nodule appears", "all", extra, "cubes or dropped, never selected"),
        none_of("no nodule twice", "all", twice, "more than once among cubes and dropped"),
        Check("nodules dropped", "all", True, float(len(dropped)), None, told),
    ]


def check_published(nodules, attrition) -> list:
    """Return whether the unrestricted cohort of four readers has its published count."""
    is_reader_rule = attrition["criterion"].str.contains("annotations")
    limits = re.findall(r"at (least|most) (\d+) annotations", " ".join(attrition["criterion"]))
    is_four = set(limits) >= {("least", str(PUBLISHED_READERS)), ("most", str(PUBLISHED_READERS))}
    if not is_four or attrition.loc[~is_reader_rule, "num_dropped"].any():
        return []
    count = len(nodules)
    detail = "groups of exactly four annotations in the unrestricted cohort"
    passed = count == PUBLISHED_COUNT
    return [Check("published count", "all", passed, float(count), float(PUBLISHED_COUNT), detail)]


def check_grid(cubes, scope: str, spacing_mm: float, shape_vox) -> list:
    """Return whether a shard has the configured grid, centred on its nodules."""
    middle = (np.array(cubes.shape_vox[::-1]) - 1) / 2 * cubes.spacing_mm
    directions = cubes.direction.reshape(-1, 3, 3)
    centers = cubes.origin_lps_mm + directions @ middle
    off = np.abs(centers - cubes.center_lps_mm).max(axis=1) > 1e-3
    if len(cubes):
        off |= (np.einsum("nii->ni", directions) <= 0.5).any(axis=1)
    is_shape = tuple(cubes.shape_vox) == tuple(shape_vox)
    detail = f"shape {tuple(cubes.shape_vox)}, configured {tuple(shape_vox)}"
    return [
        Check(
            "spacing", scope, cubes.spacing_mm == spacing_mm, cubes.spacing_mm, spacing_mm, "in mm"
        ),
        Check("shape", scope, is_shape, None, None, detail),
        none_of("centred", scope, list(cubes.nodule_id[off]), "not centred, or an axis reversed"),
    ]


def check_kinds(kinds, finding_kinds) -> list:
    """Return whether cubes say of themselves what the series' findings say, and never mix."""
    found = sorted(set(kinds))
    mixed = found if "phantom" in found and len(found) > 1 else []
    other = sorted(set(found) - set(finding_kinds))
    return [
        none_of("phantoms apart", "all", mixed, "phantoms beside real images"),
        none_of("data kind", "all", other, "kinds of cubes that no series has"),
    ]


def measure_cube(cubes, index: int) -> dict:
    """Return what the checks need of one cube: counts of voxels and ranges of HU."""
    readers, coverage = cubes.readers(index), cubes.coverage(index)
    count = int(cubes.num_readers[index])
    inside = cubes.image(index)[coverage > 0]
    majority = level_mask(readers, count, MAJORITY_LEVEL)
    staple = cubes.staple(index) >= STAPLE_THRESHOLD
    return {
        "voxels": [int((readers >> k & 1).sum()) for k in range(count)],
        "stray_bits": int(np.count_nonzero(readers >> count)),
        "consensus": int(majority.sum()),
        "staple": int(staple.sum()),
        "marked": int(np.count_nonzero(readers)),
        "uncovered": int(np.count_nonzero(readers[coverage == 0])),
        "covered": int(inside.size),
        "low_hu": int(inside.min()) if inside.size else 0,
        "high_hu": int(inside.max()) if inside.size else 0,
    }


def check_content(cubes, scope: str, measures: list) -> list:
    """Return whether a shard's masks and images are whole."""
    lost, stray, hollow, odd, blank = [], [], [], [], []
    for index, found in enumerate(measures):
        name = cubes.nodule_id[index]
        native = cubes.volume_native_mm3[index][: len(found["voxels"])]
        is_whole = not cubes.is_truncated[index]
        if any(not n and v > 0 and is_whole for n, v in zip(found["voxels"], native, strict=True)):
            lost.append(name)
        if found["stray_bits"]:
            stray.append(name)
        if not found["consensus"] and cubes.consensus_native_mm3[index] > 0:
            hollow.append(name)
        if found["low_hu"] < MIN_HU or found["high_hu"] > MAX_HU:
            odd.append(name)
        if not found["covered"] or found["low_hu"] == found["high_hu"]:
            blank.append(name)
    marked = sum(found["marked"] for found in measures)
    share = sum(found["uncovered"] for found in measures) / max(marked, 1)
    return [
        none_of("readers kept", scope, lost, "a reader's mask vanished on the grid"),
        none_of("readers counted", scope, stray, "bits of readers that the nodule lacks"),
        none_of("consensus kept", scope, hollow, "the majority's mask vanished on the grid"),
        none_of("range of HU", scope, odd, f"covered voxels beyond {MIN_HU} to {MAX_HU} HU"),
        none_of("image there", scope, blank, "no covered voxel, or all of one value"),
        Check(
            "masks covered",
            scope,
            share <= MAX_UNCOVERED_SHARE,
            share,
            MAX_UNCOVERED_SHARE,
            "share of the readers' voxels where the series holds no data",
        ),
    ]


def check_volumes(volumes) -> list:
    """Return whether masks keep their volume, by reader (and consensus) and by size.

    Parameters
    ----------
    volumes : DataFrame
        The table volumes; truncated nodules are left out, and counted.
    """
    checks = []
    whole = volumes[~volumes["is_truncated"] & (volumes["volume_native_mm3"] > 0)]
    for subject, rows in whole.groupby("subject", sort=True):
        bias = (rows["volume_grid_mm3"] / rows["volume_native_mm3"] - 1).to_numpy(float)
        is_small = rows["diameter_mm"].to_numpy(float) <= SMALL_DIAMETER_MM
        for size, chosen in (("large", bias[~is_small]), ("small", bias[is_small])):
            if len(chosen):
                checks += bias_checks(f"{subject}, {size}", size, chosen)
    truncated = volumes.loc[volumes["is_truncated"], "nodule_id"].nunique()
    detail = "nodules larger than the cube: kept, marked, not in the bounds on volume"
    return [*checks, Check("nodules truncated", "all", True, float(truncated), None, detail)]


def bias_checks(scope: str, size: str, bias: np.ndarray) -> list:
    """Return the checks of one set of relative deviations of volume."""
    count = len(bias)
    extra = 0.0 if count >= MANY_NODULES else 3 * BIAS_DEVIATION / np.sqrt(count)
    signed, absolute = float(bias.mean()), float(np.abs(bias).mean())
    limit = MAX_SIGNED_BIAS[size] + extra
    detail = f"mean over {count} nodules of grid / native volume - 1"
    checks = [
        Check("volume, signed bias", scope, abs(signed) <= limit, signed, limit, detail),
    ]
    if size in MAX_ABSOLUTE_BIAS:
        limit = MAX_ABSOLUTE_BIAS[size] + extra
        detail = f"mean over {count} nodules of |grid / native volume - 1|"
        checks.append(Check("volume, absolute", scope, absolute <= limit, absolute, limit, detail))
    return checks


def check_staple(measures: list) -> list:
    """Return how often STAPLE's mask has the majority's size; told, not bounded."""
    sizes = [(found["staple"], found["consensus"]) for found in measures if found["consensus"]]
    if not sizes:
        return []
    same = float(np.mean([abs(staple / vote - 1) <= 0.1 for staple, vote in sizes]))
    detail = "share of nodules where STAPLE's mask has the majority's size within 10 %"
    return [Check("STAPLE like the vote", "all", True, same, None, detail)]
