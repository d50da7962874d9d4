"""Score what predict_series answered on any series against masks that you have, without retraining.

Reads
    --predictions  the folder that predict_series wrote
    --masks        the readers' masks of that series, a file each (.nii, .nii.gz, .nrrd, .mha,
                   .mhd; 0 is outside), all on one grid parallel to the series': its own, mostly.
                   Of the project's own nodules, scripts/export_nifti.py writes such files
Writes
    --out-scores   external_scores.csv, one row a lesion, region, subject and reference
Method
    A lesion is a connected part of all masks together. Each reader's mask of it is put onto the
    region's grid with its volume kept, as the project's own are, and scored by the same code as in
    score_predictions. At a point the answer is scored against the lesion nearest to the click; in
    a box or a whole scan each lesion has the parts of the answer that touch it, and parts that
    touch none are counted (num_other_parts). A lesion that no part touches has Dice 0.
Source
    Definitions: workflow/schemas/evaluation.md; masks: quorum.resampling.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.lesions import covered_by, find_lesions, nearest_lesion, read_image, read_readers
from quorum.scoring import MODEL, cube_diagonal_mm, reference_masks, score_nodule
from quorum.tables import column_names, read_table, write_table

RUN = ["experiment", "fold", "seed", "series_uid", "data_kind", "region"]


def answers_by_lesion(mask, lesions: list, *, is_point: bool) -> tuple:
    """Return each lesion's share of the answer and its number of parts, and the other parts.

    Parameters
    ----------
    mask : bool (z, y, x)
        The answer.
    lesions : list of quorum.lesions.Lesion
    is_point : bool
        All of the answer belongs to the one lesion.

    Returns
    -------
    (list of (bool (z, y, x), int), int)
    """
    labels, count = ndimage.label(mask)
    if is_point:
        return [(mask, count)] * len(lesions), 0
    found, touched = [], set()
    for lesion in lesions:
        own = np.unique(labels[(lesion.readers > 0) & mask])
        touched |= set(own.tolist())
        found.append((np.isin(labels, own) & mask, len(own)))
    return found, count - len(touched)


def score_region(mask, lesions: list, *, known, spacing_mm: float, consensus, is_point) -> list:
    """Return the rows of one region: of each lesion every subject against every reference."""
    answers, num_other_parts = answers_by_lesion(mask, lesions, is_point=is_point)
    rows = []
    for number, (lesion, (answer, num_parts)) in enumerate(zip(lesions, answers, strict=True), 1):
        references = reference_masks(lesion.readers, lesion.num_readers, consensus=consensus)
        fixed = {
            "lesion": number, "center_lps_mm": np.round(lesion.center_lps_mm, 3).tolist(),
            "diameter_mm": lesion.diameter_mm, "num_readers": lesion.num_readers,
            "num_parts": num_parts, "num_other_parts": num_other_parts,
            "penalty_mm": cube_diagonal_mm(known.shape, spacing_mm),
            "is_truncated": lesion.is_truncated,
        }  # fmt: skip
        scored = score_nodule({0.0: answer}, references, coverage=known, spacing_mm=spacing_mm)
        rows += [{**fixed, **row} for row in scored]
    return rows


def read_regions(folder: Path) -> pd.DataFrame:
    """Return the table of regions; InputError when the folder is none of predict_series."""
    path = folder / "regions.csv"
    if not path.is_file():
        raise InputError(
            f"{folder} holds no regions.csv",
            "the folder that scripts/predict_series.py wrote",
            "correct --predictions, or predict again",
        )
    return read_table(path, "predicted_regions")


def main(argv=None):
    """Parse, read, score, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--predictions", required=True, help="folder of predict_series")
    parser.add_argument("--masks", required=True, nargs="+", help="a file a reader")
    parser.add_argument(
        "--consensus", default="majority", help="majority (default), a level, reader1, reader2, .."
    )
    parser.add_argument("--out-scores", required=True, help="CSV to write")
    args = parser.parse_args(argv)
    if args.consensus == "staple":
        raise InputError("the consensus staple", "majority, a level or a reader",
                         "correct --consensus")  # fmt: skip
    folder, rows, num_empty = Path(args.predictions), [], 0
    regions, (bits, geometry) = read_regions(folder), read_readers(args.masks)
    for region in regions.to_dict("records"):
        mask, grid = read_image(folder / f"{region['region']}.mask.nii.gz")
        known = covered_by(geometry, grid)
        lesions = find_lesions(bits, geometry, grid)
        is_point = len(region["point_lps_mm"]) > 0
        if is_point:
            lesions = nearest_lesion(lesions, grid.lps_to_index(region["point_lps_mm"]))
        num_empty += not lesions
        found = score_region(mask > 0, lesions, known=known, spacing_mm=grid.spacing_mm[0],
                             consensus=args.consensus, is_point=is_point)  # fmt: skip
        rows += [{**{name: region[name] for name in RUN}, **row} for row in found]
    names = column_names("external_scores")
    frame = pd.DataFrame(rows).reindex(columns=names)
    write_table(frame, args.out_scores, "external_scores", provenance(__file__, args))
    dropped = {"no lesion in the region": num_empty}
    log_counts("regions", came_in=len(regions), dropped=dropped, went_out=len(regions) - num_empty)
    model = frame[(frame["subject"] == MODEL) & (frame["reference"] == "consensus")]
    LOG.info("%d lesions: mean Dice %.3f, hits %d", len(model), model["dice"].astype(float).mean(),
             int(model["is_hit"].sum()))  # fmt: skip


if __name__ == "__main__":
    run_command(main)
