"""Nodules of shards as baselines see them."""

import numpy as np

from quorum.baselines import Case
from quorum.clicks import click_points
from quorum.consensus import consensus_mask


def load_case(cubes, index: int, click) -> Case:
    """Return one nodule for a baseline, with its click in voxels (z, y, x)."""
    return Case(
        image=cubes.image(index),
        coverage=cubes.coverage(index) > 0,
        box=np.asarray(cubes.coverage_box[index]).reshape(2, 3),
        click=np.asarray(click, float),
        # The stored cube is centred on the nodule.
        center=(np.array(cubes.shape_vox) - 1) / 2,
        diameter_mm=float(cubes.diameter_mm[index]),
        spacing_mm=cubes.spacing_mm,
    )


def load_cases(cubes, indices, *, seed: int, consensus) -> list:
    """Return nodules with their reference, clicked at one seeded reader's centre."""
    cases = []
    for k in indices:
        readers, count = cubes.readers(k), int(cubes.num_readers[k])
        points = click_points(
            readers,
            count,
            nodule_id=str(cubes.nodule_id[k]),
            offsets_mm=[0],
            seed=seed,
            spacing_mm=cubes.spacing_mm,
        )
        case = load_case(cubes, k, points[0])
        staple = cubes.staple(k) if consensus == "staple" else None
        case.reference = consensus_mask(readers, count, staple, consensus) & case.coverage
        cases.append(case)
    return cases
