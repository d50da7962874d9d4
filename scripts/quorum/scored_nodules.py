"""Which nodules a prediction file scores, and which patients its model has learned from."""

from quorum.errors import InputError
from quorum.plans import run_parts


def match_nodules(predictions, cubes, splits) -> list:
    """Return each predicted nodule's index in the shards.

    Parameters
    ----------
    predictions : h5py.File
    cubes : quorum.shards.CubeSet
    splits : DataFrame
        Table `splits`.

    Raises
    ------
    InputError
        When the predictions are of another cohort, part, kind of data or grid, or name a nodule
        twice.
    """
    index_of = {str(name): k for k, name in enumerate(cubes.nodule_id)}
    names = list(predictions["nodule_id"].asstr())
    foreign = [name for name in names if name not in index_of]
    kinds = str(predictions.attrs["data_kind"]), cubes.data_kind
    mend = "make them again with predict_cubes"
    if foreign or kinds[0] != kinds[1] or len(set(names)) < len(names):
        raise InputError(
            f"the predictions hold {len(foreign)} nodules that no shard has and "
            f"{len(names) - len(set(names))} twice ({kinds[0]} predictions, {kinds[1]} shards)",
            "predictions of the same cohort and source",
            mend,
        )
    shape = predictions["probability"].shape[2:]
    if shape != cubes.shape_vox:
        raise InputError(
            f"the predictions' cubes are {shape}, the shards' {cubes.shape_vox}",
            "predictions on the shards' own grid",
            mend,
        )
    part = predictions.attrs["part"]
    part_of = dict(zip(splits["patient_id"], splits["part"], strict=True))
    indices = [index_of[name] for name in names]
    strangers = {str(cubes.patient_id[k]) for k in indices}
    strangers = sorted(name for name in strangers if part_of.get(name) != part)
    if strangers:
        raise InputError(
            f"the predictions say {part} and hold the patient {strangers[0]} "
            f"({len(strangers)} in all) of another part of the split",
            "predictions of one part of this split",
            mend,
        )
    return indices


def training_patients(run: dict, splits) -> set:
    """Return the patients that a run, or an ensemble's members together, trained on.

    Parameters
    ----------
    run : dict
        part and fold of the predictions.
    splits : DataFrame
    """
    folds = sorted({part for part in splits["part"] if part.startswith("fold")})
    if run["part"].startswith("fold") and len(folds) >= 3:
        folds = run_parts(int(run["fold"]), len(folds))["train"]
    return set(splits.loc[splits["part"].isin(folds), "patient_id"])
