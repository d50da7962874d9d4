"""Score one run: model and readers on the same 1 mm grid, inside what is covered.

Reads
    --predictions  HDF5 of predict_cubes
    --shards       every shard of cubes
Writes
    --out-scores  scores.csv, one row a nodule, click offset, subject and reference
Method
    The model's mask is its probability at or above the threshold that was chosen on the
    validation fold. At the smallest click offset it is scored against the consensus, each reader,
    the majority of the readers with each left out, and a phantom's true surface; at the others
    against the consensus. Readers are scored against the majority of the others and in pairs.
    Dice and IoU are 0 when one mask is empty and missing when both are; HD95 is the larger of the
    two directed percentiles, ASSD the pooled mean; the border of cube and coverage is no surface.
Source
    Surface distances by MONAI's definitions (scripts/quorum/surface_metrics.py).
"""

import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.predictions import open_predictions
from quorum.scoring import reference_masks, score_nodule
from quorum.shards import open_shards
from quorum.tables import write_table


def match_nodules(predictions, cubes) -> list:
    """Return each predicted nodule's index in the shards.

    Raises
    ------
    InputError
        When the predictions are of another cohort or kind of data.
    """
    index_of = {str(name): k for k, name in enumerate(cubes.nodule_id)}
    names = list(predictions["nodule_id"].asstr())
    foreign = [name for name in names if name not in index_of]
    kinds = str(predictions.attrs["data_kind"]), cubes.data_kind
    if foreign or kinds[0] != kinds[1]:
        raise InputError(
            f"the predictions hold {len(foreign)} nodules that no shard has "
            f"({kinds[0]} predictions, {kinds[1]} shards)",
            "predictions of the same cohort and source",
            "make them again with predict_cubes",
        )
    shape = predictions["probability"].shape[2:]
    if shape != cubes.shape_vox:
        raise InputError(
            f"the predictions' cubes are {shape}, the shards' {cubes.shape_vox}",
            "predictions on the shards' own grid",
            "make them again with predict_cubes",
        )
    return [index_of[name] for name in names]


def score_one(predictions, row: int, *, cubes, index: int, consensus) -> list:
    """Return the rows of one nodule.

    Raises
    ------
    InputError
        When a probability is nan.
    """
    probability = predictions["probability"][row].astype("float32")
    if not (probability == probability).all():
        raise InputError(
            f"the prediction of nodule {cubes.nodule_id[index]} holds nan",
            "a probability in every voxel",
            "make it again with predict_cubes",
        )
    masks = probability >= predictions.attrs["threshold"]
    offsets = predictions["offsets_mm"][()].tolist()
    references = reference_masks(
        cubes.readers(index),
        int(cubes.num_readers[index]),
        staple=cubes.staple(index) if consensus == "staple" else None,
        latent=cubes.latent(index) if cubes.has_latent else None,
        consensus=consensus,
    )
    rows = score_nodule(
        dict(zip(offsets, masks, strict=True)),
        references,
        coverage=cubes.coverage(index) > 0,
        spacing_mm=cubes.spacing_mm,
    )
    fixed = {
        "nodule_id": str(cubes.nodule_id[index]),
        "patient_id": str(cubes.patient_id[index]),
        "series_uid": str(cubes.source_series_uid[index]),
        "is_truncated": bool(cubes.is_truncated[index]),
        "diameter_mm": float(cubes.diameter_mm[index]),
    }
    return [{**fixed, **found} for found in rows]


def main(argv=None):
    """Parse, read, score, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--predictions", required=True, help="HDF5 of predict_cubes")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--consensus", required=True, help="the reference called consensus")
    parser.add_argument("--out-scores", required=True, help="CSV to write")
    args = parser.parse_args(argv)
    cubes, rows = open_shards(args.shards), []
    with open_predictions(args.predictions) as predictions:
        indices = match_nodules(predictions, cubes)
        for row, index in enumerate(progress(indices, "nodules")):
            rows += score_one(predictions, row, cubes=cubes, index=index, consensus=args.consensus)
        names = ("experiment", "fold", "seed", "data_kind")
        run = {name: predictions.attrs[name] for name in names}
    frame = pd.DataFrame(rows).assign(**run)
    write_table(frame, args.out_scores, "scores", provenance(__file__, args))
    log_counts("nodules", came_in=len(indices), dropped={}, went_out=frame["nodule_id"].nunique())
    model = frame[(frame["subject"] == "model") & (frame["reference"] == "consensus")]
    empty = int((model["is_empty"] & (model["offset_mm"] == model["offset_mm"].min())).sum())
    LOG.info("nodules with an empty mask: %d", empty)


if __name__ == "__main__":
    run_command(main)
