"""What the report reads belongs together: one cohort, one kind of images, whole experiments."""

from quorum.errors import InputError

# Further tables whose nodules are the cohort's, and whose images are of the cubes' kind.
OF_NODULES = {"reader_nodules", "nodule_scores", "explanation_sanity", "classifier_scores"}
OF_IMAGES = OF_NODULES | {
    "fifth_reader", "by_group", "bland_altman", "calibration", "ranks", "spread", "runs",
    "performance", "table_one", "classifier_summary", "classifier_calibration",
}  # fmt: skip


def check_cohort(inputs):
    """Refuse cubes, predictions or scores of nodules that the cohort doesn't hold."""
    cohort = set(inputs.nodules["nodule_id"])
    sources = {"the shards hold": set(inputs.cubes.nodule_id)}
    sources["the scores name"] = set(inputs.scores["nodule_id"])
    for name in OF_NODULES & set(inputs.tables):
        sources[f"the table {name} names"] = set(inputs.tables[name]["nodule_id"])
    for one in inputs.predictions:
        sources[f"the predictions {one.path} hold"] = set(one.nodule_id)
    for words, ids in sources.items():
        strangers = sorted(ids - cohort)
        if strangers:
            raise InputError(
                f"{words} {len(strangers)} nodules of another cohort, such as {strangers[0]}",
                f"only the {len(cohort)} nodules of select_nodules/nodules.csv",
                "run Snakemake again, so that everything is made from one cohort",
            )
    kinds = set(inputs.scores["data_kind"].dropna()) | {p.data_kind for p in inputs.predictions}
    for name in OF_IMAGES & set(inputs.tables):
        kinds |= set(inputs.tables[name]["data_kind"].dropna())
    if len((kinds | {inputs.data_kind}) - {"empty"}) > 1:
        raise InputError(
            f"scores, predictions or comparisons are of {sorted(kinds)} and the cubes of "
            f"{inputs.data_kind}",
            "one kind of images in one report",
            "run Snakemake again, so that everything is made from one source",
        )


def check_experiments(inputs):
    """Refuse a report in which an experiment lacks scores, a summary or a record."""
    scored = set(inputs.scores["experiment"])
    summed = set(inputs.summary["experiment"])
    recorded = {record.get("experiment") for record in inputs.records}
    for name in inputs.experiments:
        for words, found in (
            ("no scores", scored),
            ("no row in summary.csv", summed),
            ("no record", recorded),
        ):
            if name not in found and len(inputs.cubes):
                raise InputError(
                    f"the experiment {name} has predictions and {words}",
                    "every experiment with predictions, scores, a summary and a record",
                    "run Snakemake again for the experiments of the configuration",
                )
    missing = sorted((scored | summed) - set(inputs.experiments) - {"readers"})
    if missing:
        raise InputError(
            f"the experiment {missing[0]} has scores and no predictions",
            "predictions of every scored experiment",
            "run Snakemake again for the experiments of the configuration",
        )
