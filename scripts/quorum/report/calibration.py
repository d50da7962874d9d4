"""Does a probability mean a share of readers, and does the model differ as the readers do?"""

from quorum.report import charts
from quorum.report.tabular import Column, Section, frame_table, plain, records, schema_columns

NUM_SHOWN = 20
MEANS = {
    "brier_band": "Brier score in the band",
    "bias_band": "mean probability − share",
    "ged_squared": "GED², all pairs",
    "ged_squared_distinct": "GED², distinct pairs",
    "samples_diversity": "samples’ diversity",
    "readers_diversity": "readers’ diversity",
    "model_dice_vote": "Dice against the vote",
    "model_dice_staple": "Dice against STAPLE",
    "staple_dice_vote": "Dice of STAPLE and vote",
}


def pooled_bins(frame) -> dict:
    """Return each experiment's bins over all runs: list of (probability, share, voxels)."""
    pooled = frame[frame["fold"].isna()]
    frame = pooled if len(pooled) else frame
    frame = frame[frame["num_voxels"] > 0]
    found = {}
    for (experiment, _), part in frame.groupby(["experiment", "bin"], sort=True):
        weights = part["num_voxels"].astype(float)
        values = [float((part[c] * weights).sum() / weights.sum())
                  for c in ("mean_probability", "mean_share")]  # fmt: skip
        found.setdefault(experiment, []).append((*values, int(weights.sum())))
    return found


def calibration_figure(inputs, bins: dict):
    """Return the readers' share against the model's probability, with the line of both equal."""
    ideal = {"label": "equal", "x": [0.0, 1.0], "y": [0.0, 1.0], "plain": True}
    series = [
        {"label": name, "x": [b[0] for b in bins[name]], "y": [b[1] for b in bins[name]]}
        for name in inputs.experiments
        if name in bins
    ]
    return charts.lines(
        "calibration",
        "Probability and the share of readers",
        [*series, ideal],
        x_label="mean probability of the model",
        y_label="mean share of the readers",
        y_low=0.0,
        y_high=1.0,
    )


def mean_rows(inputs, frame) -> list:
    """Return each experiment's means over nodules; nodules are averaged over runs first."""
    rows = []
    for experiment in inputs.experiments:
        part = frame[frame["experiment"] == experiment]
        if not len(part):
            continue
        means = part.groupby("nodule_id")[list(MEANS)].mean().mean()
        rows.append({
            "experiment": experiment,
            "num_nodules": int(part["nodule_id"].nunique()),
            "num_samples": int(part["num_samples"].max()),
            "sample_source": " ".join(sorted(set(part["sample_source"]))),
            **{key: plain(means[key]) for key in MEANS},
        })  # fmt: skip
    return rows


def calibration_section(inputs) -> Section:
    """Return the section; tables that were not made leave their part out."""
    found, tables, figures, values = inputs.tables, {}, {}, {"band_mm": None}
    if found.get("calibration") is not None:
        figures["calibration"] = calibration_figure(inputs, pooled_bins(found["calibration"]))
    frame = found.get("nodule_scores")
    if frame is not None and len(frame):
        first = {"experiment": "experiment", "num_nodules": "nodules", "sample_source": "masks",
                 "num_samples": "masks a nodule"}  # fmt: skip
        columns = schema_columns("nodule_scores", {**first, **MEANS})
        columns[1] = Column("num_nodules", "nodules", 0)
        caption = "Calibration and diversity, means over nodules"
        tables["means"] = frame_table("calibration", caption, mean_rows(inputs, frame), columns)
        tables["staple"] = staple_table(frame)
        values["band_mm"] = float(frame["band_mm"].iloc[0])
        values["num_different"] = int(
            frame.loc[frame["staple_voxels_different"] > 0, "nodule_id"].nunique()
        )
        values["num_nodules"] = int(frame["nodule_id"].nunique())
    return Section("calibration", "Calibration and diversity", values, tables, figures)


def staple_table(frame):
    """Return the nodules on which STAPLE and the vote differ most."""
    one = frame.drop_duplicates("nodule_id").sort_values(
        ["staple_voxels_different", "nodule_id"], ascending=[False, True]
    )
    one = one[one["staple_voxels_different"] > 0].head(NUM_SHOWN)
    columns = schema_columns("nodule_scores", {
        "nodule_id": "nodule", "patient_id": "patient",
        "staple_voxels_different": "voxels that differ", "staple_dice_vote": "Dice of both",
        "model_dice_staple": "model’s Dice against STAPLE",
        "model_dice_vote": "model’s Dice against the vote",
    })  # fmt: skip
    caption = "Where STAPLE and the vote differ"
    return frame_table("staple-vote", caption, records(one), columns, opens_nodules=True)
