"""A series as a scan to read boxes from: its DICOM slices, or one volume file."""

from dataclasses import dataclass

import numpy as np

from quorum.geometry import Axis, Geometry, flip_array
from quorum.reader_masks import Raster


class Dropped(Exception):
    """A nodule that can't become a cube, with a reason that is counted and one that is read."""

    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = reason, detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, eq=False)
class Scan:
    """Images of one series: all its DICOM slices, or one volume file.

    Attributes
    ----------
    raster : Raster
        Its geometry as stored, slices from the lowest z up.
    rows : DataFrame
        Of the table series_slices: one a slice, or the one of the volume.
    is_top_down : bool
        The volume file is stored from the highest slice down.
    root : str
        Folder that paths are relative to.
    """

    raster: Raster
    rows: object
    is_top_down: bool
    root: str

    @property
    def first(self):
        """Return the first row of the table."""
        return self.rows.iloc[0]

    def read(self, box):
        """Return HU and padding of a box ((start, stop) of z, y, x; as stored, lowest z first)."""
        (z0, z1), rows, columns = box
        if self.first["kind"] == "dicom":
            from quorum.dicom_pixels import read_slices_hu

            return read_slices_hu(
                self.rows.iloc[z0:z1], row_range=rows, column_range=columns, root=self.root
            )
        from quorum.volume_files import read_volume_hu

        if self.is_top_down:
            count = len(self.raster.geometry.axes[0])
            z0, z1 = count - z1, count - z0
        hu, padding = read_volume_hu(
            self.first, box_zyx=(z0, rows[0], columns[0], z1, rows[1], columns[1]), root=self.root
        )
        flips = (self.is_top_down, False, False)
        return flip_array(hu, flips), flip_array(padding, flips)


def scans_of(rows, root: str) -> list:
    """Return the scans of one series: its DICOM slices as one, every volume file as one.

    Parameters
    ----------
    rows : DataFrame
        Of the table series_slices, one series.
    root : str
    """
    scans = []
    slices = rows[rows["kind"] == "dicom"].sort_values("slice_index", kind="stable")
    if len(slices):
        scans.append(dicom_scan(slices, root))
    volumes = rows[rows["kind"] == "volume"].sort_values("path", kind="stable")
    scans += [volume_scan(volumes.iloc[k : k + 1], root) for k in range(len(volumes))]
    return scans


def dicom_scan(slices, root: str) -> Scan:
    """Return the scan of a series' DICOM slices, sorted from the lowest z up."""
    first = slices.iloc[0]
    positions = np.array(slices["position_lps_mm"].tolist(), float)
    normal = np.asarray(first["slice_direction"], float)
    centers = (positions - positions[0]) @ normal
    axis_z = Axis(
        centers,
        centers - slices["slice_lower_mm"].to_numpy(float),
        centers + slices["slice_upper_mm"].to_numpy(float),
        float(first["slice_spacing_mm"]),
    )
    raster = Raster(
        plane_geometry(first, axis_z, positions[0], normal),
        int(first["row0"]),
        int(first["column0"]),
    )
    return Scan(raster, slices, False, root)


def volume_scan(rows, root: str) -> Scan:
    """Return the scan of one volume file."""
    first = rows.iloc[0]
    normal = np.asarray(first["slice_direction"], float)
    axis_z = Axis.regular(int(first["num_slices"]), float(first["slice_spacing_mm"]))
    geometry = plane_geometry(first, axis_z, np.asarray(first["position_lps_mm"], float), normal)
    is_top_down = bool(normal[2] < 0)
    raster = Raster(
        geometry.flipped((is_top_down, False, False)), int(first["row0"]), int(first["column0"])
    )
    return Scan(raster, rows, is_top_down, root)


def plane_geometry(first, axis_z: Axis, origin, normal) -> Geometry:
    """Return the geometry of slices along `normal` with the first row's pixels."""
    orientation = np.asarray(first["orientation"], float)
    axis_y = Axis.regular(int(first["num_rows"]), float(first["row_spacing_mm"]))
    axis_x = Axis.regular(int(first["num_columns"]), float(first["column_spacing_mm"]))
    direction = np.column_stack([orientation[:3], orientation[3:], normal])
    return Geometry((axis_z, axis_y, axis_x), origin, direction)


def choose_scan(scans: list, nodule) -> Scan:
    """Return the scan that holds the nodule's centre and most of its outlines' box.

    Raises
    ------
    Dropped
        When none holds the centre.
    """
    best, best_share = None, 0.0
    for scan in scans:
        share = share_within(scan.raster, nodule)
        if share > best_share:
            best, best_share = scan, share
    if best is None:
        raise Dropped(
            "outside the images",
            f"none of the series' {len(scans)} scans or cut-outs holds the nodule's centre",
        )
    return best


def share_within(raster: Raster, nodule) -> float:
    """Return the share of the nodule's outline box that is scanned; 0 without its centre."""
    share = 1.0
    axis_z, axis_y, axis_x = raster.geometry.axes
    places = [float(raster.place_of_z(nodule[name])) for name in ("min_z_mm", "max_z_mm")]
    middle = raster.place_of_z(nodule["center_z_mm"])
    half = axis_z.spacing_mm / 2
    spans = [(axis_z, min(places) - half, max(places) + half, float(middle))]
    for axis, start, name in ((axis_y, raster.row0, "row"), (axis_x, raster.column0, "column")):
        low, high, middle = (
            axis.centers_mm[0] + (float(nodule[key]) - start) * axis.spacing_mm
            for key in (f"min_{name}", f"max_{name}", f"center_{name}_px")
        )
        spans.append((axis, low - axis.spacing_mm / 2, high + axis.spacing_mm / 2, middle))
    for axis, low, high, middle in spans:
        if not axis.lower_mm[0] <= middle <= axis.upper_mm[-1]:
            return 0.0
        common = min(high, axis.upper_mm[-1]) - max(low, axis.lower_mm[0])
        share *= max(0.0, common) / (high - low)
    return share
