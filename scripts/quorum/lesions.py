"""A user's own masks of a series: read in place, cut into lesions, put onto a model's grid."""

from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from quorum.errors import InputError
from quorum.geometry import Axis, Geometry, flip_array
from quorum.resampling import resample_mask

MAX_READERS = 8  # bits of uint8
# ASSUME: voxels that touch at a corner belong to one lesion (choice; readers draw by slices).
TOUCHING = np.ones((3, 3, 3), bool)
SAME_GRID_MM = 1e-2


@dataclass(frozen=True)
class Lesion:
    """A connected part of all readers' masks, on a region's grid.

    Attributes
    ----------
    readers : uint8 (z, y, x)
        Bit k is the k-th of the readers that mark it.
    num_readers : int
    center_lps_mm : float (3,)
    diameter_mm : float
        Of a ball of its volume, mean over its readers, on the masks' own grid.
    is_truncated : bool
        It reaches beyond the region.
    """

    readers: np.ndarray
    num_readers: int
    center_lps_mm: np.ndarray
    diameter_mm: float
    is_truncated: bool


def read_image(path) -> tuple:
    """Return a file's array and its Geometry, axes towards +z, +y, +x.

    Raises
    ------
    InputError
        When it can't be read, or is no axial volume.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError(
            f"the mask {path} can't be read ({str(error).strip().splitlines()[-1][:200]})",
            "a volume such as .nii.gz, .nrrd, .mha or .mhd",
            "correct the path, or write the file again",
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} has {image.GetDimension()} dimensions and "
            f"{image.GetNumberOfComponentsPerPixel()} values a voxel",
            "one mask: three dimensions, one value a voxel",
            "write each reader's mask to a file of its own",
        )
    spacing, size = image.GetSpacing()[::-1], image.GetSize()[::-1]
    axes = tuple(Axis.regular(n, by) for n, by in zip(size, spacing, strict=True))
    direction = np.array(image.GetDirection()).reshape(3, 3)
    geometry = Geometry(axes, np.array(image.GetOrigin()), direction)
    flips = geometry.canonical_flips()
    return flip_array(sitk.GetArrayFromImage(image), flips), geometry.flipped(flips)


def read_readers(paths) -> tuple:
    """Return the masks of all readers as bits, uint8 (z, y, x), and their one Geometry.

    Raises
    ------
    InputError
        When there are more than 8, grids differ, or nothing is marked.
    """
    if len(paths) > MAX_READERS:
        raise InputError(f"{len(paths)} masks", f"at most {MAX_READERS}", "leave some out")
    bits, geometry = None, None
    for k, path in enumerate(paths):
        mask, own = read_image(path)
        if geometry is None:
            bits, geometry = np.zeros(mask.shape, np.uint8), own
        corners = [own.index_to_lps((0, 0, 0)), own.index_to_lps(own.shape)]
        known = [geometry.index_to_lps((0, 0, 0)), geometry.index_to_lps(geometry.shape)]
        if own.shape != geometry.shape or np.abs(np.subtract(corners, known)).max() > SAME_GRID_MM:
            raise InputError(
                f"{path} has another grid than {paths[0]}", "one grid for all masks",
                "resample the masks to the series' grid",
            )  # fmt: skip
        bits |= (mask != 0).astype(np.uint8) << np.uint8(k)
    if not bits.any():
        raise InputError(
            f"the {len(paths)} masks are empty", "at least one lesion", "name the masks of lesions"
        )
    return bits, geometry


def covered_by(geometry: Geometry, grid: Geometry) -> np.ndarray:
    """Return which voxels of a parallel grid lie inside an image's extent: bool (z, y, x)."""
    places = geometry.places_of(grid)
    inside = [axis.holds(place) for axis, place in zip(geometry.axes, places, strict=True)]
    return inside[0][:, None, None] & inside[1][:, None] & inside[2]


def find_lesions(bits, geometry: Geometry, grid: Geometry) -> list:
    """Return the lesions that reach into a region's grid, largest first.

    Parameters
    ----------
    bits : uint8 (z, y, x)
        Of `read_readers`.
    geometry : Geometry
        Of the bits.
    grid : Geometry
        Of the region, parallel to it.

    Raises
    ------
    InputError
        When the two grids aren't parallel.
    """
    labels, _ = ndimage.label(bits > 0, structure=TOUCHING)
    found = []
    for number, window in enumerate(ndimage.find_objects(labels), 1):
        part = np.where(labels[window] == number, bits[window], 0).astype(np.uint8)
        start = [axis.start for axis in window]
        lesion = place_lesion(part, start, geometry=geometry, grid=grid)
        if lesion.readers.any():
            found.append(lesion)
    return sorted(found, key=lambda lesion: -int((lesion.readers > 0).sum()))


def place_lesion(part, start, *, geometry: Geometry, grid: Geometry) -> Lesion:
    """Return one lesion on the region's grid, each reader's volume kept (`resample_mask`).

    Parameters
    ----------
    part : uint8 (z, y, x)
        Its box of bits.
    start : 3 ints
        The box's first voxel.
    """
    # An empty border two kernels wide, also beyond the image's end.
    border = [int(np.ceil(2 * max(g, own) / own)) for g, own in
              zip(grid.spacing_mm, geometry.spacing_mm, strict=True)]  # fmt: skip
    padded = np.pad(part, [(b, b) for b in border])
    first = [s - b for s, b in zip(start, border, strict=True)]
    own = shifted(geometry, first, padded.shape)
    # The grid goes on as far as the lesion does, so that no volume is squeezed into the region.
    ends = [grid.lps_to_index(own.index_to_lps(end)) for end in ((0, 0, 0), own.shape)]
    low = np.minimum(np.floor(np.minimum(*ends)).astype(int), 0)
    high = np.maximum(np.ceil(np.maximum(*ends)).astype(int) + 1, grid.shape)
    wide = shifted(grid, low, high - low)
    inside = tuple(slice(-a, -a + n) for a, n in zip(low, grid.shape, strict=True))
    marks = [k for k in range(MAX_READERS) if (part >> k & 1).any()]
    readers, is_truncated, volumes = np.zeros(grid.shape, np.uint8), False, []
    for bit, k in enumerate(marks):
        mask = resample_mask((padded >> k & 1).astype(bool), own, wide)
        readers |= mask[inside].astype(np.uint8) << np.uint8(bit)
        is_truncated |= bool(mask.sum() > mask[inside].sum())
        volumes.append(int((part >> k & 1).sum()) * float(np.prod(geometry.spacing_mm)))
    middle = np.argwhere(part).mean(0) + start
    diameters = [(6 * volume / np.pi) ** (1 / 3) for volume in volumes]
    return Lesion(
        readers, len(marks), geometry.index_to_lps(middle), float(np.mean(diameters)), is_truncated
    )


def shifted(geometry: Geometry, first, shape) -> Geometry:
    """Return a regular grid's continuation: from the index `first`, of another shape."""
    origin = geometry.index_to_lps(first)
    axes = tuple(Axis.regular(int(n), by) for n, by in
                 zip(shape, geometry.spacing_mm, strict=True))  # fmt: skip
    return replace(geometry, axes=axes, origin_lps_mm=origin)


def nearest_lesion(lesions: list, click_zyx_vox) -> list:
    """Return the lesion with the voxel nearest to the click, as a list; empty without any."""

    def distance(lesion):
        index = np.argwhere(lesion.readers)
        return ((index - np.asarray(click_zyx_vox)) ** 2).sum(1).min()

    return [min(lesions, key=distance)] if lesions else []
