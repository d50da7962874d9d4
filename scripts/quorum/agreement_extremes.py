"""The most and the least agreed nodules, with their readers' outlines, for pictures."""

import numpy as np
import pandas as pd

from quorum.outlines import outlines_by_annotation
from quorum.tables import column_names

NUM_EXTREMES = 6


def extreme_outlines(nodules, agreement, contours, series) -> pd.DataFrame:
    """Return the table extremes: outlines in the slice that most readers outlined.

    Ties between slices go to the one nearest to the nodule's centre. Nodules are ranked by the
    mean IoU over pairs of readers; those without two readers have none.
    """
    pairs = agreement[agreement["kind"] == "pair"]
    means = pairs.groupby("nodule_id")[["iou", "dice"]].mean().astype(float).dropna()
    ranked = means.sort_values("iou", kind="stable")
    least, most = ranked.index[:NUM_EXTREMES], ranked.index[::-1][:NUM_EXTREMES]
    spacing_of = dict(zip(series["series_uid"], series["pixel_spacing_mm"], strict=True))
    nodules = nodules.set_index("nodule_id", drop=False)
    wanted = nodules.loc[[*most, *least]]
    outlines = outlines_by_annotation(
        contours, {name for ids in wanted["annotation_ids"] for name in ids}
    )
    rows = []
    for kind, chosen in (("most", most), ("least", least)):
        for rank, nodule_id in enumerate(chosen, 1):
            nodule = nodules.loc[nodule_id]
            head = (kind, rank, nodule_id, nodule["patient_id"], *means.loc[nodule_id])
            head += (float(nodule["diameter_mm"]), float(spacing_of[nodule["series_uid"]]))
            readers = [outlines[name] for name in nodule["annotation_ids"]]
            z_mm = shown_slice(readers, float(nodule["center_z_mm"]))
            for reader, own in enumerate(readers, 1):
                for outline in own:
                    if outline.z_mm == z_mm:
                        points = outline.rows.tolist(), outline.columns.tolist()
                        rows.append((*head, z_mm, reader, outline.is_inclusion, *points))
    return pd.DataFrame(rows, columns=column_names("extremes"))


def shown_slice(readers: list, center_z_mm: float) -> float:
    """Return the z of the slice that most readers outlined, the nearest to the centre."""
    heights = [{outline.z_mm for outline in own} for own in readers]
    z_mm = sorted(set().union(*heights))
    counts = [sum(z in own for own in heights) for z in z_mm]
    best = max(range(len(z_mm)), key=lambda k: (counts[k], -abs(z_mm[k] - center_z_mm)))
    return float(np.float64(z_mm[best]))
