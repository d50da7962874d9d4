"""How the measures of this run were taken: grid, tolerances, penalty, in its own numbers."""

from quorum.report.gallery import central_rows
from quorum.report.tabular import Section
from quorum.scoring import HIT_IOU, TOLERANCE_MM, cube_diagonal_mm


def definitions_section(inputs) -> Section | None:
    """Return the section; None where nothing was scored.

    The readers' own distances are those of the runs: one where all have the same, else their
    range, since each run takes its own training patients.
    """
    if not len(inputs.scores):
        return None
    cubes = inputs.cubes
    distances = central_rows(inputs.scores)["readers_distance_mm"].dropna().astype(float)
    values = {
        "consensus": str(inputs.settings.get("consensus", "majority")),
        "tie_rule": cubes.attributes.get("tie_rule", "not stated"),
        "spacing_mm": cubes.spacing_mm,
        "shape_vox": cubes.shape_vox,
        "penalty_mm": cube_diagonal_mm(cubes.shape_vox, cubes.spacing_mm),
        "tolerance_mm": TOLERANCE_MM,
        "readers_low_mm": float(distances.min()) if len(distances) else None,
        "readers_high_mm": float(distances.max()) if len(distances) else None,
        "hit_iou": HIT_IOU,
    }
    return Section("definitions", "Definitions", values)
