"""Score one run: model and readers on the same 1 mm grid, inside what is covered.

Reads
    --predictions  HDF5 of predict_cubes, of a run or of an ensemble
    --shards       every shard of cubes
    --splits       splits.csv, --agreement  agreement.csv: which patients the run trained on, and
                   how far their readers' surfaces lie apart
    --frozen-plan  plan.json of freeze_plan; needed for the test part, whose predictions name it
Writes
    --out-scores       scores.csv, one row a nodule, click offset, subject and reference
    --out-nodules      nodule_scores.csv, one row a nodule: calibration, energy distance, STAPLE
    --out-calibration  calibration.csv, one row a bin of probability
    --looks            a file in this folder for each time that the test part was scored
Method
    The model's mask is its probability at or above the threshold that was chosen on the
    validation fold. At the smallest click offset it is scored against the consensus, each reader,
    the majority of the readers with each left out, and a phantom's true surface; at the others
    against the consensus. Readers are scored against the majority of the others, the consensus,
    and in pairs. Definitions: workflow/schemas/evaluation.md.
Source
    Surface distances by MONAI's definitions (scripts/quorum/surface_metrics.py).
"""

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.distributions import bin_rows, compare_staple, score_distribution
from quorum.errors import InputError
from quorum.frozen_plan import TEST, check_same_plan, log_look, read_frozen_plan
from quorum.predictions import open_predictions
from quorum.scored_nodules import match_nodules, training_patients
from quorum.scoring import readers_distance, reference_masks, score_nodule
from quorum.shards import open_shards
from quorum.tables import read_table, write_table

RUN = ("experiment", "fold", "seed", "part", "data_kind")


def read_answer(predictions, row: int, name: str) -> tuple:
    """Return one nodule's probability (offsets, z, y, x), and its masks by offset.

    Raises
    ------
    InputError
        When a probability is nan or outside 0 to 1.
    """
    probability = predictions["probability"][row].astype("float32")
    if not (np.isfinite(probability).all() and 0 <= probability.min() <= probability.max() <= 1):
        raise InputError(
            f"the prediction of nodule {name} holds nan or what is no probability",
            "a number from 0 to 1 in every voxel",
            "make it again with predict_cubes",
        )
    masks = probability >= predictions.attrs["threshold"]
    return probability, dict(zip(predictions["offsets_mm"][()].tolist(), masks, strict=True))


def score_one(predictions, row: int, *, cubes, index: int, consensus, distance_mm) -> tuple:
    """Return one nodule's rows of scores, its row of nodule scores, and its bins.

    Parameters
    ----------
    distance_mm : float or None
        The readers' own, over the run's training patients.

    Raises
    ------
    InputError
        When a probability is none.
    """
    fixed = {
        "nodule_id": str(cubes.nodule_id[index]),
        "patient_id": str(cubes.patient_id[index]),
        "is_truncated": bool(cubes.is_truncated[index]),
    }
    probability, masks = read_answer(predictions, row, fixed["nodule_id"])
    readers, num_readers = cubes.readers(index), int(cubes.num_readers[index])
    known, staple, spacing_mm = cubes.coverage(index) > 0, cubes.staple(index), cubes.spacing_mm
    references = reference_masks(
        readers,
        num_readers,
        staple=staple if consensus == "staple" else None,
        latent=cubes.latent(index) if cubes.has_latent else None,
        consensus=consensus,
    )
    rows = score_nodule(
        masks, references, coverage=known, spacing_mm=spacing_mm, readers_distance_mm=distance_mm
    )
    first = min(masks)
    drawn = predictions["samples"][row] > 0 if "samples" in predictions else masks[first][None]
    seen = {"readers": readers, "num_readers": num_readers}
    nearest = probability[list(masks).index(first)]
    measures, bins = score_distribution(nearest, drawn, **seen, known=known, spacing_mm=spacing_mm)
    measures |= compare_staple(masks[first], **seen, staple=staple, coverage=known)
    origin = {
        "series_uid": str(cubes.source_series_uid[index]),
        "diameter_mm": float(cubes.diameter_mm[index]),
    }
    return [{**fixed, **origin, **found} for found in rows], {**fixed, **measures}, bins


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--predictions", required=True, help="HDF5 of predict_cubes")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--agreement", required=True, help="agreement.csv of compare_readers")
    parser.add_argument("--consensus", required=True, help="the reference called consensus")
    parser.add_argument("--frozen-plan", nargs="?", help="plan.json, for the test part")
    parser.add_argument("--looks", help="folder of the looks at the test part")
    parser.add_argument("--out-scores", required=True, help="CSV to write")
    parser.add_argument("--out-nodules", required=True, help="CSV to write")
    parser.add_argument("--out-calibration", required=True, help="CSV to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, score, write."""
    args = parse_args(argv)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    agreement = read_table(args.agreement, "agreement")
    scores, nodules, bins = [], [], 0
    with open_predictions(args.predictions) as predictions:
        run = {name: predictions.attrs[name] for name in RUN}
        if run["part"] == TEST:
            plan = read_frozen_plan(args.frozen_plan)
            check_same_plan(predictions.attrs, plan)
            log_look(args.looks, run["experiment"], predictions=args.predictions, plan=plan)
        indices = match_nodules(predictions, cubes, splits)
        patient_of = dict(zip(map(str, cubes.nodule_id), map(str, cubes.patient_id), strict=True))
        distance_mm = readers_distance(agreement, patient_of, training_patients(run, splits))
        for row, index in enumerate(progress(indices, "nodules")):
            found = score_one(
                predictions,
                row,
                cubes=cubes,
                index=index,
                consensus=args.consensus,
                distance_mm=distance_mm,
            )
            scores += found[0]
            nodules.append(found[1])
            bins = bins + found[2] * (not found[1]["is_truncated"])
        source = "samples" if "samples" in predictions else "threshold"
    made_by = provenance(__file__, args)
    frame = pd.DataFrame(scores).assign(**run, readers_distance_mm=distance_mm)
    write_table(frame, args.out_scores, "scores", made_by)
    nodules = pd.DataFrame(nodules).assign(**run, sample_source=source)
    write_table(nodules, args.out_nodules, "nodule_scores", made_by)
    calibration = pd.DataFrame(bin_rows(bins)).assign(**run)
    write_table(calibration, args.out_calibration, "calibration", made_by)
    log_counts("nodules", came_in=len(indices), dropped={}, went_out=frame["nodule_id"].nunique())
    model = frame[(frame["subject"] == "model") & (frame["reference"] == "consensus")]
    central = model[model["offset_mm"] == model["offset_mm"].min()]
    LOG.info("nodules whose distances are the penalty: %d", int(central["is_penalized"].sum()))


if __name__ == "__main__":
    run_command(main)
