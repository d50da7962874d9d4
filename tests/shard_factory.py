"""Small valid shards of synthetic nodules with four readers, for everybody's tests.

    from shard_factory import make_shard
    path = make_shard(tmp_path / "shard00.h5", num_nodules=6, seed=1)

Each nodule is a bright ball (about -100 HU in lung of -800 HU, with noise) near the cube's centre;
its readers drew balls of slightly different radius and centre, so they overlap and disagree.
Patients have two nodules each. Patient ids, annotation ids and nodule ids are unique by `first`.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from quorum.consensus import TIE_RULE, level_mask
from quorum.ratings import RATINGS
from quorum.shard_schema import ATTRIBUTES, MAX_READERS
from quorum.shard_writer import ShardWriter

SHAPE = (40, 80, 80)


def make_shard(
    path,
    num_nodules: int = 4,
    *,
    seed: int = 0,
    shape=SHAPE,
    num_readers: int = 4,
    data_kind: str = "phantom",
    first: int = 0,
    uncovered_slices: int = 0,
    radii_mm=None,
):
    """Write a shard and return its path.

    Parameters
    ----------
    path : str or Path
    num_nodules : int
        0 is valid.
    seed : int
    shape : tuple of int
        Cube in voxels (z, y, x), 1 mm each.
    num_readers : int
        1 to 8.
    data_kind : str
        phantom (has a latent surface), scan or cut_out.
    first : int
        Number of the first nodule: give shards of one test different ones.
    uncovered_slices : int
        How many slices at each end in z are uncovered.
    radii_mm : sequence of float, optional
        One a nodule, in place of 3 to 8 mm at random.
    """
    attributes = {
        "data_kind": data_kind if num_nodules else "empty",
        "spacing_mm": 1.0,
        "shape_vox": list(shape),
        "mask_rule": "synthetic balls",
        "image_kernel": "synthetic",
        "coverage_rule": "synthetic",
        "staple_rule": "the readers' share",
        "staple_padding_vox": 8,
        "tie_rule": TIE_RULE,
        "made_by": {"script": "shard_factory"},
    }
    if sorted(attributes) != sorted(ATTRIBUTES):
        raise RuntimeError("shard_factory is behind the schema")
    has_latent = data_kind == "phantom"
    with ShardWriter(path, attributes, has_latent=has_latent) as writer:
        for number in range(first, first + num_nodules):
            radius = None if radii_mm is None else radii_mm[number - first]
            cube = make_cube(number, seed, shape, num_readers, data_kind, uncovered_slices, radius)
            if not has_latent:
                del cube["latent"]
            writer.add(cube)
    return path


def make_cube(
    number, seed, shape, num_readers, data_kind, uncovered_slices, radius_mm=None
) -> dict:
    """Return every field of one synthetic nodule."""
    generator = np.random.default_rng([seed, number])
    radius = generator.uniform(3, 8) if radius_mm is None else radius_mm
    middle = (np.array(shape) - 1) / 2 + generator.uniform(-0.5, 0.5, 3)
    latent = ball(shape, middle, radius)
    readers = np.zeros(shape, np.uint8)
    for k in range(num_readers):
        shifted = middle + generator.normal(0, 0.6, 3)
        readers |= ball(shape, shifted, radius * generator.uniform(0.85, 1.15)) << k
    image = np.where(latent, -100, -800) + generator.normal(0, 30, shape)
    coverage = np.ones(shape, np.uint8)
    if uncovered_slices:
        keep = slice(uncovered_slices, -uncovered_slices)
        coverage[:uncovered_slices] = coverage[-uncovered_slices:] = 0
        readers[:uncovered_slices] = readers[-uncovered_slices:] = 0
        image = np.pad(image[keep], ((uncovered_slices,) * 2, (0, 0), (0, 0)), mode="edge")
    marked = np.arange(MAX_READERS) < num_readers
    volumes = np.array([float((readers >> k & 1).sum()) for k in range(MAX_READERS)])
    ratings = generator.integers(1, 6, (len(RATINGS), MAX_READERS)).astype(float)
    uid = f"2.25.{10**9 + number // 2}"
    name = hashlib.sha256(f"{number}".encode()).hexdigest()
    return {
        "image": np.round(image).astype(np.int16),
        "readers": readers,
        "coverage": coverage,
        "staple": (np.bitwise_count(readers) / num_readers).astype(np.float16),
        "latent": latent,
        "coverage_box": [uncovered_slices, 0, 0, shape[0] - uncovered_slices, *shape[1:]],
        "origin_lps_mm": -(np.array(shape[::-1]) - 1) / 2.0,
        "direction": np.eye(3).ravel(),
        "center_lps_mm": np.zeros(3),
        "native_spacing_mm": np.array([2.5, 0.7, 0.7]),
        "volume_native_mm3": np.where(marked, volumes, np.nan),
        "consensus_native_mm3": float(level_mask(readers, num_readers, 0.5).sum()),
        "diameter_mm": 2 * radius,
        "is_truncated": False,
        "num_readers": num_readers,
        "reader_status": marked.astype(np.uint8),
        "ratings": np.where(marked, ratings, np.nan),
        "nodule_id": f"{name[:8]}-{name[8:16]}",
        "series_uid": uid,
        "source_series_uid": uid if data_kind != "phantom" else f"1.3.6.1.{number // 2}",
        "patient_id": f"TEST-{number // 2:04d}",
        "annotation_ids": " ".join(str(10 * number + k) for k in range(num_readers)),
        "data_kind": data_kind,
    }


def ball(shape, center, radius) -> np.ndarray:
    """Return a ball: uint8 (z, y, x), 1 inside."""
    axes = np.ogrid[tuple(slice(length) for length in shape)]
    distance = sum((axis - middle) ** 2 for axis, middle in zip(axes, center, strict=True))
    return (distance <= radius**2).astype(np.uint8)
