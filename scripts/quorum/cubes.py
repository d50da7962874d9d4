"""One nodule's cube, from its outlines and the scan around it; only voxels in reach are read."""

import numpy as np

from quorum.errors import InputError
from quorum.geometry import Axis, Geometry, cube_geometry, flip_array, to_place
from quorum.outlines import Outline, pieces_of
from quorum.ratings import RATINGS
from quorum.reader_masks import (
    NativeMasks,
    draw_readers,
    padded_to,
    paste,
    readers_on_lattice,
)
from quorum.resampling import resample_image
from quorum.scans import Dropped, Scan
from quorum.shard_schema import MAX_READERS
from quorum.staple import staple_probability


def make_cube(nodule, outlines: list, scan: Scan, *, shape, spacing_mm: float, padding_vox: int):
    """Return every field of the shard for one nodule.

    Parameters
    ----------
    nodule : mapping
        A row of the table nodules.
    outlines : list of lists of Outline
        One list a reader, in the order of its annotation_ids.
    shape : (int, int, int)
        The cube's voxels along z, y, x.
    padding_vox : int
        Around the readers' box, for STAPLE.

    Raises Dropped when the scan holds nothing of the cube, or no reader encloses a voxel.
    """
    raster = scan.raster
    places = (nodule[f"center_{name}"] for name in ("row_px", "column_px", "z_mm"))
    center = raster.center_lps_mm(*places)
    cube = cube_geometry(raster.geometry, center, shape=shape, spacing_mm=spacing_mm)
    native = draw_readers(outlines, raster, margin_mm=spacing_mm)
    if not native.readers.any():
        raise Dropped("no voxel inside", "no reader's outline encloses a voxel")
    block, start = padded_to(*readers_on_lattice(native, cube), padding_vox)
    readers = paste(block, start, shape)
    image, coverage = read_cube(scan, cube)
    if not coverage.any():
        raise Dropped("outside the images", "the series holds no data in the cube")
    staple = staple_probability(block, native.num_readers)
    fields = {
        "image": image,
        "readers": readers,
        "coverage": coverage,
        "staple": paste(staple.astype(np.float16), start, shape),
        "coverage_box": bounding_box(coverage),
        "is_truncated": np.count_nonzero(readers) < np.count_nonzero(block),
        "center_lps_mm": center,
    }
    return {**fields, **scan_fields(scan, cube, nodule), **reader_fields(nodule, native)}


def read_cube(scan: Scan, cube: Geometry):
    """Return the image and its coverage on the cube's grid; only voxels in reach are read."""
    flips = scan.raster.geometry.canonical_flips()
    geometry = scan.raster.geometry.flipped(flips)
    box, stored = [], []
    pairs = zip(geometry.axes, geometry.places_of(cube), cube.axes, flips, strict=True)
    for axis, places, target, is_flipped in pairs:
        reach = max(axis.spacing_mm, target.spacing_mm)
        start, stop = axis.reach(places[0] - reach, places[-1] + reach)
        if start >= stop:
            return np.zeros(cube.shape, np.int16), np.zeros(cube.shape, np.uint8)
        box.append((start, stop))
        stored.append((len(axis) - stop, len(axis) - start) if is_flipped else (start, stop))
    hu, is_padding = scan.read(stored)
    part = geometry.part(box)
    return resample_image(flip_array(hu, flips), flip_array(is_padding, flips), part, cube)


def bounding_box(coverage) -> np.ndarray:
    """Return z0 y0 x0 z1 y1 x1, half-open, of what is covered: int16 (6,)."""
    index = np.nonzero(coverage)
    return np.array([v.min() for v in index] + [v.max() + 1 for v in index], np.int16)


def scan_fields(scan: Scan, cube: Geometry, nodule) -> dict:
    """Return where the cube lies, what it was cut from, and a phantom's true surface."""
    fields = {
        "origin_lps_mm": cube.origin_lps_mm,
        "direction": cube.direction.ravel(),
        "native_spacing_mm": np.array(scan.raster.geometry.spacing_mm),
        "data_kind": str(scan.first["data_kind"]),
        "series_uid": str(scan.first["series_uid"]),
    }
    if has_latent(scan):
        fields["latent"] = latent_mask(scan, cube, str(nodule["nodule_id"]))
    return fields


def reader_fields(nodule, native: NativeMasks) -> dict:
    """Return the readers' volumes and ratings, and the nodule's ids."""
    count = native.num_readers
    volumes = np.full(MAX_READERS, np.nan)
    volumes[:count] = native.volumes_mm3()
    ratings = np.full((len(RATINGS), MAX_READERS), np.nan)
    for row, name in enumerate(RATINGS):
        values = np.asarray(nodule[f"{name}_values"], float)[:count]
        ratings[row, : len(values)] = values
    return {
        "volume_native_mm3": volumes,
        "consensus_native_mm3": native.consensus_mm3(),
        "diameter_mm": float(nodule["diameter_mm"]),
        "num_readers": count,
        "reader_status": reader_status(nodule, count),
        "ratings": ratings,
        "nodule_id": str(nodule["nodule_id"]),
        "source_series_uid": str(nodule["series_uid"]),
        "patient_id": str(nodule["patient_id"]),
        "annotation_ids": " ".join(nodule["annotation_ids"]),
    }


def reader_status(nodule, count: int) -> np.ndarray:
    """Return what each reader of the series did, as the plan knows it: uint8 (8,).

    Without reading sessions only those who marked the nodule are known.
    """
    known = nodule.get("reader_status")
    known = list(known)[:MAX_READERS] if isinstance(known, list | np.ndarray) else []
    status = (np.arange(MAX_READERS) < count).astype(np.uint8)
    status[: len(known)] = known
    return status


def has_latent(scan: Scan) -> bool:
    """Tell whether the scan is a phantom's, with a true surface beside it."""
    return isinstance(scan.first["latent"], str)


def latent_mask(scan: Scan, cube: Geometry, nodule_id: str) -> np.ndarray:
    """Return a phantom's true surface on the cube's grid: uint8 (z, y, x)."""
    from quorum.phantom_latent import read_latent

    latent, z_mm = read_latent(scan.first["latent"], nodule_id)
    raster = scan.raster
    spacings = raster.geometry.spacing_mm
    pad = [
        int(np.ceil(wide / own)) + 1 for wide, own in zip(cube.spacing_mm, spacings, strict=True)
    ]
    mask = np.pad(latent.mask, [(width, width) for width in pad])
    slices, rows, columns = (
        first - width + np.arange(length)
        for first, width, length in zip(latent.start_zyx, pad, mask.shape, strict=True)
    )
    known = Axis.uneven(raster.place_of_z(z_mm), spacings[0])
    axes = (
        Axis.uneven([to_place(known, index) for index in slices], spacings[0]),
        Axis.regular(len(rows), spacings[1], first_mm=(rows[0] - raster.row0) * spacings[1]),
        Axis.regular(
            len(columns), spacings[2], first_mm=(columns[0] - raster.column0) * spacings[2]
        ),
    )
    geometry = Geometry(axes, raster.geometry.origin_lps_mm, raster.geometry.direction)
    native = NativeMasks(mask.astype(np.uint8), 1, geometry)
    block, start = readers_on_lattice(native, cube)
    return paste(block, start, cube.shape)


def outlines_of(nodule, outlines: dict) -> list:
    """Return the nodule's outlines, one list a reader, in the order of its annotation_ids.

    Raises
    ------
    Dropped
        When there are more readers than bits.
    """
    ids = list(nodule["annotation_ids"])
    if len(ids) > MAX_READERS:
        raise Dropped("too many annotations", f"{len(ids)}, and a shard holds {MAX_READERS}")
    pieces = [pieces_of(name) for name in ids]
    lacking = [name for names in pieces for name in names if name not in outlines]
    if lacking:
        raise InputError(
            f"the contours lack the annotations {', '.join(lacking)} of {nodule['nodule_id']}",
            "outlines of every annotation in the plan",
            "make plan and contours with the same configuration",
        )
    own: list[list[Outline]] = [[o for name in names for o in outlines[name]] for names in pieces]
    return own
