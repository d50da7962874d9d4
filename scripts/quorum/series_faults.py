"""Why a series or volume can't be used: each reason is one sentence with its numbers."""

import math

import numpy as np

from quorum.dicom_pixels import missing_decoder
from quorum.series_geometry import (
    ALIKE_COSINE,
    ALIKE_MM,
    MAX_OFF_AXIS_DEG,
    MAX_UNEVEN_SHARE,
    Stack,
    is_orthonormal,
    off_axis_deg,
)
from quorum.volume_files import VolumeHeader

MAX_ORIGIN_MM = 0.1  # a fifth of the smallest pixel: origins are written with one decimal or more
MAX_SPACING_SHARE = 2e-3  # headers keep four digits of the pixel spacing


def why_unusable(headers: list, series_uid: str, data_kind: str):
    """Return why slices can't be read as one CT series, or None.

    Parameters
    ----------
    headers : list of SliceHeader
        All slices of the series.
    series_uid : str
        The SeriesInstanceUID that each must have.
    data_kind : str
        `phantom` or `scan`.
    """
    first = headers[0]
    other = next((h for h in headers if h.series_uid != series_uid), None)
    if other:
        return f"another series: {other.path} belongs to {other.series_uid[:70]}"
    if any(h.is_phantom != (data_kind == "phantom") for h in headers):
        return f"phantom: its files are marked otherwise than as {data_kind}"
    for what, is_bad in SLICE_FAULTS:
        bad = next((h for h in headers if is_bad(h, first)), None)
        if bad:
            return what.format(h=bad)
    return why_not_axial(first.orientation) or why_not_decoded(headers)


def lacks_rescale(header, _first) -> bool:
    """Tell whether a slice's stored values can't be turned into HU."""
    return not (math.isfinite(header.slope) and math.isfinite(header.intercept) and header.slope)


def lacks_geometry(header, _first) -> bool:
    """Tell whether a slice can't be placed."""
    values = (*header.position_lps_mm, *header.orientation, *header.pixel_spacing_mm)
    return not np.all(np.isfinite(values)) or min(header.pixel_spacing_mm) <= 0


def differ(values, others, limit: float) -> bool:
    """Tell whether two tuples of numbers differ by more than a limit anywhere."""
    return bool(np.max(np.abs(np.subtract(values, others))) > limit)


# What excludes a series as soon as one slice has it, in the order told: (sentence, test of a slice
# against the first one).
SLICE_FAULTS = (
    ("wrong modality: {h.modality!r} in {h.path}, CT expected", lambda h, _: h.modality != "CT"),
    (
        "no CT pixels: {h.samples_per_pixel} x {h.photometric} in {h.path}, one MONOCHROME2 value "
        "a pixel expected",
        lambda h, _: (h.samples_per_pixel, h.photometric) != (1, "MONOCHROME2"),
    ),
    ("no rescale: RescaleSlope or RescaleIntercept is missing in {h.path}", lacks_rescale),
    ("no geometry: position, orientation or pixel spacing is missing in {h.path}", lacks_geometry),
    (
        "mixed sizes: {h.num_rows} x {h.num_columns} pixels in {h.path}",
        lambda h, first: (h.num_rows, h.num_columns) != (first.num_rows, first.num_columns),
    ),
    (
        "mixed pixel spacing: {h.pixel_spacing_mm} mm in {h.path}",
        lambda h, first: differ(h.pixel_spacing_mm, first.pixel_spacing_mm, ALIKE_MM),
    ),
    (
        "mixed orientation: {h.orientation} in {h.path}",
        lambda h, first: differ(h.orientation, first.orientation, ALIKE_COSINE),
    ),
)


def why_not_axial(orientation):
    """Return why an orientation is not that of axial slices, or None."""
    if not is_orthonormal(orientation):
        return f"bad orientation: {tuple(orientation)} are no unit vectors at right angles"
    angle = off_axis_deg(orientation)
    if angle > MAX_OFF_AXIS_DEG:
        return (
            f"not axial: its slices are tilted by {angle:.1f} degrees against the patient's axis, "
            f"at most {MAX_OFF_AXIS_DEG:.0f} expected"
        )
    return None


def why_not_decoded(headers: list):
    """Return why a transfer syntax can't be decoded here, or None."""
    for syntax in sorted({header.transfer_syntax for header in headers}):
        if detail := missing_decoder(syntax):
            return f"no decoder for the transfer syntax {syntax}: {detail}"
    return None


def why_not_even(stack: Stack, max_tilt_deg: float):
    """Return why a stack is no volume, or None."""
    if stack.tilt_deg > max_tilt_deg:
        return (
            f"sheared: the stack is tilted by {stack.tilt_deg:.2f} degrees against its slices' "
            f"normal, at most {max_tilt_deg} expected"
        )
    half_pixel = min(stack.headers[0].pixel_spacing_mm) / 2
    if stack.drift_mm > half_pixel:
        return f"shifted in plane: a slice lies {stack.drift_mm:.2f} mm beside the others"
    num_steps = len(stack.headers) - 1
    if stack.num_uneven > 1 and stack.num_uneven > MAX_UNEVEN_SHARE * num_steps:
        return (
            f"uneven slices: {stack.num_uneven} of {num_steps} steps differ from the median of "
            f"{stack.spacing_mm:.4g} mm and are no multiple of it"
        )
    return None


def why_volume_misplaced(entry, header: VolumeHeader, series, series_z_mm):
    """Return why a volume's own geometry contradicts its place in the series, or None.

    Parameters
    ----------
    entry : row of the table `files`
        Its stated place and size.
    header : VolumeHeader
        Its own geometry.
    series : row of the table `series`
        pixel_spacing_mm of the whole series.
    series_z_mm : float (n,)
        z of every slice of the whole series, rising.
    """
    size = (entry.num_slices, entry.num_rows, entry.num_columns)
    if tuple(size) != header.shape_zyx:
        return f"size: {header.shape_zyx} voxels (z, y, x) where {tuple(size)} are stated"
    if fault := why_not_axial(header.orientation):
        return fault
    normal = np.cross(header.orientation[:3], header.orientation[3:])
    if normal[2] < 0:
        return (
            "mirrored: rows and columns were turned when it was made, so readers' outlines can't "
            "be placed; convert the DICOM again without reorienting (SimpleITK does)"
        )
    if abs(normal @ header.slice_direction) < 1 - ALIKE_COSINE:
        return "sheared: its slices are not stacked along their normal"
    in_plane = np.array(header.spacing_zyx_mm[1:])
    if np.max(np.abs(in_plane / series.pixel_spacing_mm - 1)) > MAX_SPACING_SHARE:
        return f"pixel spacing: {in_plane} mm where the series has {series.pixel_spacing_mm} mm"
    return why_off_origin(entry, header) or why_off_slices(entry, header, series_z_mm)


def why_off_origin(entry, header: VolumeHeader):
    """Return how far a volume's first voxel lies from where row0 and column0 put it, or None."""
    if np.isnan(entry.series_origin_x_mm) or np.isnan(entry.series_origin_y_mm):
        return None
    _, row_spacing, column_spacing = header.spacing_zyx_mm
    expected = (
        np.array([entry.series_origin_x_mm, entry.series_origin_y_mm])
        + entry.column0 * column_spacing * np.array(header.orientation[:2])
        + entry.row0 * row_spacing * np.array(header.orientation[3:5])
    )
    found = np.array(header.origin_lps_mm[:2])
    if np.max(np.abs(found - expected)) > MAX_ORIGIN_MM:
        return (
            f"origin: its first voxel lies at {found.round(2)} mm, and row0 and col0 put it at "
            f"{expected.round(2)} mm"
        )
    return None


def why_off_slices(entry, header: VolumeHeader, series_z_mm):
    """Return how a volume's slices differ from the series' ones, or None."""
    found = np.sort(volume_z(header))
    first = int(entry.slice0)
    if header.slice_direction[2] < 0:
        first = first - len(found) + 1 if entry.is_cut_out else 0
    expected = series_z_mm[first : first + len(found)]
    if len(expected) < len(found) or (not entry.is_cut_out and len(found) < len(series_z_mm)):
        return f"slices: {len(found)} from slice {first} on, and the series has {len(series_z_mm)}"
    limit = 0.1 * header.spacing_zyx_mm[0]
    if np.max(np.abs(found - expected)) > limit:
        return (
            f"slices: it spans z {found[0]:.2f} to {found[-1]:.2f} mm, and these slices of the "
            f"series {expected[0]:.2f} to {expected[-1]:.2f} mm"
        )
    return None


def volume_z(header: VolumeHeader) -> np.ndarray:
    """Return the z of each slice of a volume, in its own order, mm."""
    steps = np.arange(header.shape_zyx[0]) * header.spacing_zyx_mm[0]
    return header.origin_lps_mm[2] + steps * header.slice_direction[2]
