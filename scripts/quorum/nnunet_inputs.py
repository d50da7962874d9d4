"""What nnU-Net learns from and looks at: the cubes of 1 mm, or the same field as it was scanned.

Either is an image with its geometry, parallel to the cube's. On the series' own lattice nothing is
resampled but uneven slices, and nnU-Net chooses spacing and anisotropy by itself.
"""

from dataclasses import dataclass

import numpy as np

from quorum.consensus import consensus_mask
from quorum.cubes import outlines_of, read_cube
from quorum.errors import InputError
from quorum.geometry import Axis, Geometry
from quorum.outlines import outlines_by_annotation
from quorum.reader_masks import draw_readers, padded_to, paste, readers_on_lattice
from quorum.resampling import apply_weights, axis_weights
from quorum.scans import Dropped, Scan, choose_scan, scans_of
from quorum.series_masks import grid_of
from quorum.staple import staple_probability
from quorum.tables import read_table

INPUTS = ("cubes", "native")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image and its place.

    Attributes
    ----------
    hu : int16 (z, y, x) [HU]
        What is not covered repeats the nearest covered voxel.
    geometry : Geometry
        With all axes towards +z, +y, +x.
    """

    hu: np.ndarray
    geometry: Geometry

    def cut(self, grid: Geometry) -> "Picture":
        """Return the voxels whose centres lie inside the extent of a parallel grid."""
        box = []
        shift = self.geometry.along_axes_mm(grid.origin_lps_mm)
        for own, wanted, by in zip(self.geometry.axes, grid.axes, shift, strict=True):
            start, stop = own.reach(wanted.lower_mm[0] + by, wanted.upper_mm[-1] + by)
            if start == stop:  # slices further apart than the grid is high
                start = int(own.nearest(wanted.centers_mm.mean() + by))
                stop = start + 1
            box.append((start, stop))
        window = tuple(slice(*ends) for ends in box)
        return Picture(self.hu[window], self.geometry.part(box))


def to_grid(probability, geometry: Geometry, grid: Geometry) -> np.ndarray:
    """Return a probability on a parallel grid, by the triangle that images are resampled with.

    Parameters
    ----------
    probability : float (z, y, x)
    geometry : Geometry
        Of the probability.
    grid : Geometry

    Returns
    -------
    float64 (z, y, x) of the grid; beyond the outermost centres their values are repeated.
    """
    pairs = zip(geometry.axes, geometry.places_of(grid), grid.axes, strict=True)
    return apply_weights(probability, [axis_weights(a, p, t.spacing_mm) for a, p, t in pairs])


class CubeInputs:
    """The cubes of the shards as they are.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    consensus : str or float
    """

    def __init__(self, cubes, consensus):
        self.cubes, self.consensus = cubes, consensus

    def picture(self, k: int) -> Picture:
        """Return the image of nodule k."""
        return Picture(self.cubes.image(k), grid_of(self.cubes, k))

    def example(self, k: int) -> tuple:
        """Return the picture of nodule k, its consensus (bool) and its coverage (uint8)."""
        staple = self.cubes.staple(k) if self.consensus == "staple" else None
        count = int(self.cubes.num_readers[k])
        mask = consensus_mask(self.cubes.readers(k), count, staple, self.consensus)
        return self.picture(k), mask, self.cubes.coverage(k)


class NativeInputs:
    """The cubes' fields on the lattices of the series that they were cut from.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    consensus : str or float
    nodules, contours : str or Path
        Tables nodules and contours.
    slices : list of str or Path
        Tables series_slices, one a shard.
    root : str
        Folder that the slices' paths are relative to.

    Raises
    ------
    InputError
        When a nodule of the cubes is in no row of the tables.
    """

    def __init__(self, cubes, consensus, *, nodules, slices, contours, root: str = ""):
        self.cubes, self.consensus, self.root = cubes, consensus, root
        table = read_table(nodules, "nodules")
        self.nodules = {row["nodule_id"]: row for row in table.to_dict("records")}
        lacking = sorted(set(map(str, cubes.nodule_id)) - set(self.nodules))
        if lacking:
            raise InputError(
                f"{nodules} lacks the nodule {lacking[0]} ({len(lacking)} in all) of the shards",
                "the nodules that the cubes were cut for",
                "take shards and nodules of one run",
            )
        series = set(map(str, cubes.source_series_uid))
        self.rows = {}
        for path in slices:
            few = read_table(path, "series_slices")
            few = few[few["source_series_uid"].isin(series)]
            self.rows |= dict(iter(few.groupby("source_series_uid")))
        wanted = {name for ids in cubes.annotation_ids for name in str(ids).split(" ")}
        self.outlines = outlines_by_annotation(read_table(contours, "contours"), wanted)

    def scan(self, k: int) -> Scan:
        """Return the scan that nodule k was cut from.

        Raises
        ------
        InputError
            When no image of it is listed.
        """
        uid = str(self.cubes.source_series_uid[k])
        try:
            if uid not in self.rows:
                raise Dropped("no images", "check_series lists no file of its series")
            nodule = self.nodules[str(self.cubes.nodule_id[k])]
            return choose_scan(scans_of(self.rows[uid], self.root), nodule)
        except Dropped as dropped:
            raise InputError(
                f"the nodule {self.cubes.nodule_id[k]} has no native images ({dropped.detail})",
                "the images that its cube was cut from",
                "run extract_cubes and check_series again, or take train_nnunet.inputs: [cubes]",
            ) from dropped

    def picture(self, k: int) -> Picture:
        """Return the image of nodule k on its series' own lattice."""
        return self.look(k)[0]

    def look(self, k: int) -> tuple:
        """Return the picture of nodule k, its coverage (uint8) and its scan."""
        scan = self.scan(k)
        lattice = native_lattice(scan.raster.geometry, grid_of(self.cubes, k))
        hu, coverage = read_cube(scan, lattice)
        return Picture(hu, lattice), coverage, scan

    def example(self, k: int) -> tuple:
        """Return the picture of nodule k, its consensus (bool) and its coverage (uint8).

        The readers' outlines are drawn on the raster that they were drawn on.
        """
        picture, coverage, scan = self.look(k)
        lattice, count = picture.geometry, int(self.cubes.num_readers[k])
        own = outlines_of(self.nodules[str(self.cubes.nodule_id[k])], self.outlines)
        drawn = draw_readers(own, scan.raster, margin_mm=max(lattice.spacing_mm))
        padding = int(self.cubes.attributes["staple_padding_vox"])
        block, start = padded_to(*readers_on_lattice(drawn, lattice), padding)
        readers, staple = paste(block, start, lattice.shape), None
        if self.consensus == "staple":
            staple = paste(staple_probability(block, count), start, lattice.shape)
        return picture, consensus_mask(readers, count, staple, self.consensus), coverage


def native_lattice(series: Geometry, cube: Geometry) -> Geometry:
    """Return the series' own lattice over the extent of a cube: equal steps, canonical axes.

    It goes through the voxel that is nearest to the cube's middle, and beyond the series' ends
    where the cube does. Slices at uneven places are met only where they fit its steps.

    Parameters
    ----------
    series : Geometry
        As stored.
    cube : Geometry
        Parallel to the series, canonical.
    """
    canonical = series.canonical()
    shift = canonical.along_axes_mm(cube.origin_lps_mm)
    firsts, axes = [], []
    for own, wanted, by in zip(canonical.axes, cube.axes, shift, strict=True):
        low, high = wanted.lower_mm[0] + by, wanted.upper_mm[-1] + by
        anchor = float(own.centers_mm[own.nearest((low + high) / 2)])
        start = int(np.ceil((low - anchor) / own.spacing_mm - 1e-6))
        stop = int(np.floor((high - anchor) / own.spacing_mm + 1e-6)) + 1
        firsts.append(anchor + start * own.spacing_mm)
        axes.append(Axis.regular(stop - start, own.spacing_mm))
    return Geometry(tuple(axes), canonical.to_lps_mm(firsts), canonical.direction)


def open_inputs(kind: str, cubes, consensus, *, root: str = "", **tables):
    """Return what nnU-Net learns from, by one of INPUTS.

    Parameters
    ----------
    kind : str
    cubes : quorum.shards.CubeSet
    consensus : str or float
    root : str
        Of NativeInputs, as are the tables.

    Raises
    ------
    InputError
        When native inputs lack a table.
    """
    if kind == "cubes":
        return CubeInputs(cubes, consensus)
    lacking = [f"--{name}" for name, paths in tables.items() if not paths]
    if lacking:
        raise InputError(
            f"native inputs were asked for without {' and '.join(lacking)}",
            "the tables that say where the images are and what was outlined",
            "name them, or take --inputs cubes",
        )
    return NativeInputs(cubes, consensus, root=root, **tables)
