"""One picture a nodule: three planes through it, and its outlines as paths over them."""

import io
from dataclasses import dataclass

import contourpy
import numpy as np
from PIL import Image

# ASSUME: pictures are shown from -1000 to 400 HU (the usual lung window, 1400 HU wide)
WINDOW_HU = (-1000.0, 400.0)
MIN_FIELD_MM, MAX_FIELD_MM, RIM_MM = 36, 80, 16
PANE_PX = 168
GAP_MM = 1
PLANES = ("axial", "coronal", "sagittal")
QUALITY = 86
GAP_GREY = 110
STRIPE_PX, STRIPE_GREY = 6, (38, 52)


@dataclass(frozen=True)
class View:
    """Which planes are shown, and which part of them.

    Attributes
    ----------
    slices_zyx : tuple of int
        The axial, coronal and sagittal slice.
    low_zyx : tuple of int
        The window's first voxel; may lie outside of the cube.
    field_vox : int
        Side of the square window.
    """

    slices_zyx: tuple
    low_zyx: tuple
    field_vox: int

    @property
    def width(self) -> int:
        """Width of the three panes beside each other, in voxels."""
        return 3 * self.field_vox + 2 * GAP_MM


def choose_view(union, consensus) -> View:
    """Return planes through the consensus' largest areas, in a window around the readers' union.

    Parameters
    ----------
    union, consensus : bool (z, y, x)
        Where both are empty, the cube's middle is shown.
    """
    base = consensus if consensus.any() else union
    if not base.any():
        middle = tuple(length // 2 for length in union.shape)
        low = tuple(m - MIN_FIELD_MM // 2 for m in middle)
        return View(middle, low, MIN_FIELD_MM)
    areas = [base.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    slices = tuple(int(area.argmax()) for area in areas)
    where = np.nonzero(union if union.any() else base)
    first = [int(index.min()) for index in where]
    last = [int(index.max()) for index in where]
    extent = max(b - a + 1 for a, b in zip(first, last, strict=True))
    field = int(np.clip(extent + RIM_MM, MIN_FIELD_MM, MAX_FIELD_MM))
    low = tuple((a + b + 1 - field) // 2 for a, b in zip(first, last, strict=True))
    return View(slices, low, field)


def panes(volume, view: View, fill=0) -> list:
    """Return the three planes of a volume as they are looked at, each (field, field).

    Rows of the axial plane run from front to back, of the others from head to foot; columns run
    from the patient's right to the left, in the sagittal plane from front to back.
    """
    z, y, x = view.slices_zyx
    field, (low_z, low_y, low_x) = view.field_vox, view.low_zyx
    axial = window(volume[z], (low_y, low_x), field, fill)
    coronal = window(volume[:, y], (low_z, low_x), field, fill)[::-1]
    sagittal = window(volume[:, :, x], (low_z, low_y), field, fill)[::-1]
    return [axial, coronal, sagittal]


def window(plane, low, field: int, fill):
    """Return a square part of a plane; what lies outside of the plane is `fill`."""
    out = np.full((field, field), fill, dtype=plane.dtype)
    source, target = [], []
    for start, length in zip(low, plane.shape, strict=True):
        first, last = max(start, 0), min(start + field, length)
        source.append(slice(first, max(first, last)))
        target.append(slice(first - start, max(first, last) - start))
    out[tuple(target)] = plane[tuple(source)]
    return out


def picture(image, coverage, view: View) -> bytes:
    """Return the three planes as one WebP; what the series doesn't hold is striped.

    Parameters
    ----------
    image : int16 (z, y, x) [HU]
    coverage : uint8 (z, y, x)
    """
    scale = max(2, round(PANE_PX / view.field_vox))
    side = view.field_vox * scale
    canvas = np.full((side, view.width * scale), GAP_GREY, np.uint8)
    low, high = WINDOW_HU
    for index, (hu, covered) in enumerate(
        zip(panes(image, view, -1000), panes(coverage, view), strict=True)
    ):
        grey = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255
        big = Image.fromarray(grey.round().astype(np.uint8)).resize((side, side), Image.BICUBIC)
        shown = np.where(enlarge(covered, scale) > 0, np.asarray(big), stripes(side))
        left = index * (view.field_vox + GAP_MM) * scale
        canvas[:, left : left + side] = shown
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "WEBP", quality=QUALITY, method=1)
    return stream.getvalue()


def enlarge(mask, scale: int):
    """Return a mask with every voxel repeated."""
    return mask.repeat(scale, axis=0).repeat(scale, axis=1)


def stripes(side: int):
    """Return a pattern of diagonal stripes."""
    row, column = np.ogrid[:side, :side]
    return np.where((row + column) // STRIPE_PX % 2, *STRIPE_GREY).astype(np.uint8)


def outline_path(volume, view: View, level: float = 0.5) -> str:
    """Return the outline of `volume` at `level` in the three panes as the `d` of an SVG path.

    Units are voxels of the picture, from its upper left corner. Linear between voxel centres: of
    a mask it is the line halfway between inside and outside. Empty where nothing is above.
    """
    parts = []
    for index, plane in enumerate(panes(np.asarray(volume, dtype=np.float32), view)):
        if plane.max() < level:
            continue
        shift = index * (view.field_vox + GAP_MM) + 0.5
        # A rim of zeros closes every line at the window's edge.
        padded = np.pad(plane, 1)
        for points in contourpy.contour_generator(z=padded).lines(level):
            parts.append(path_of(points[:, 0] - 1 + shift, points[:, 1] - 1 + 0.5))
    return "".join(parts)


def path_of(x, y) -> str:
    """Return a closed line as path data, without points that lie on a straight line."""
    steps = np.stack([np.diff(x), np.diff(y)], axis=1)
    turns = np.abs(turn(steps))
    keep = np.concatenate([[True], turns > 1e-6, [False]])
    places = [f"{a:.1f} {b:.1f}" for a, b in zip(x[keep], y[keep], strict=True)]
    return f"M{'L'.join(places)}Z"


def turn(steps):
    """Return how far each step turns away from the one before: a parallelogram's area."""
    return steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
