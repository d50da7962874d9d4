"""A picture of voxels with its outlines as one SVG file, which drawing programs open too."""

import base64
import io
import re

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

from quorum.report.look import LOOK
from quorum.report.svg import element
from quorum.report.tiles import GAP_GREY, GAP_MM, PLANES, STRIPE_GREY, WINDOW_HU, View, panes

SCALE = 4  # of the file's own size: points a mm
DASHES = {"consensus": "1.2 0.7", "latent": "0.4 0.7"}


def colours() -> dict:
    """Return the colour of each outline's class, as the page has them."""
    css = (LOOK / "report.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--(reader\d|consensus|latent): (#\w+)", css))
    return found | dict(re.findall(r"\.(tone\d) \{ --tone: (#\w+)", css))


def grey_planes(image, coverage, view: View) -> np.ndarray:
    """Return the three planes, a pixel a voxel, uint8 (rows, columns, 1).

    Parameters
    ----------
    image : int16 (z, y, x) [HU]
    coverage : uint8 (z, y, x)
    """
    low, high = WINDOW_HU
    shown = []
    for hu, covered in zip(panes(image, view, -1000), panes(coverage, view), strict=True):
        grey = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255
        shown.append(np.where(covered > 0, grey.round(), STRIPE_GREY[0]).astype(np.uint8))
    return join_planes([plane[..., None] for plane in shown], view)


def join_planes(planes: list, view: View) -> np.ndarray:
    """Return planes (rows, columns, colours) beside each other, with a gap between them."""
    canvas = np.full((view.field_vox, view.width, planes[0].shape[-1]), GAP_GREY, np.uint8)
    for index, plane in enumerate(planes):
        left = index * (view.field_vox + GAP_MM)
        canvas[:, left : left + view.field_vox] = plane
    return canvas


def vector_picture(planes, paths: list, title: str) -> str:
    """Return an SVG file: the planes as an embedded PNG, outlines, names of planes, a bar of 10 mm.

    Parameters
    ----------
    planes : uint8 (rows, columns, colours)
        Of `join_planes`; a pixel is 1 mm.
    paths : list of (str, str, str)
        Classes (the last names the colour), label, path data.
    title : str
    """
    height, width = planes.shape[:2]
    stream = io.BytesIO()
    Image.fromarray(planes.squeeze()).save(stream, "PNG")
    data = base64.b64encode(stream.getvalue()).decode()
    tone_of = colours()
    parts = [element("title", escape(title))]
    parts.append(element("image", href=f"data:image/png;base64,{data}", width=width, height=height))
    for classes, label, path in paths:
        name = classes.split()[-1]
        if path:
            parts.append(element(
                "path", element("title", escape(label)), d=path, fill="none",
                stroke=tone_of[name], stroke_width=0.4, stroke_dasharray=DASHES.get(name),
            ))  # fmt: skip
    words = {"font_family": "sans-serif", "font_size": 3.4, "fill": "#dfe6ee"}
    side = (width - 2 * GAP_MM) // len(PLANES)
    for index, plane in enumerate(PLANES):
        parts.append(element("text", plane, x=index * (side + GAP_MM) + 1.5, y=4.4, **words))
    bar = height - 2.0
    parts.append(element("text", "10 mm", x=2.0, y=bar - 1.2, **words))
    line = {"stroke": "#dfe6ee", "stroke_width": 0.5}
    parts.append(element("line", x1=2.0, x2=12.0, y1=bar, y2=bar, **line))
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{SCALE * width}" height="{SCALE * height}">'
    )
    return f"{opening}{Markup('').join(parts)}</svg>\n"
