"""The head of every page, and the page that is opened first: what was run, and what came out."""

from quorum.report.fifth_reader import verdict_rows
from quorum.report.gallery import layers_of
from quorum.report.inputs import KINDS
from quorum.report.scores import fair_rows, side_by_side_figure, side_by_side_table
from quorum.report.tabular import Section

# Tables that a run need not have made: page, what is missing without them, what makes them.
OPTIONAL = {
    "reader_agreement": ("readers", "agreement beyond overlap", "summarize_agreement"),
    "xml_sessions": ("readers", "counts by reader, from the original XML", "read_xml"),
    "table_one": ("cohort", "table 1 of the parts of the split", "describe_splits"),
    "fifth_reader": ("models", "the test of the fifth reader", "compare_with_readers"),
    "by_group": ("models", "scores by kind of nodule", "compare_with_readers"),
    "performance": ("models", "scores by sex, age and scanner", "describe_splits"),
    "pairs": ("models", "paired tests between experiments", "compare_experiments"),
    "bland_altman": ("models", "agreement of volumes", "compare_experiments"),
    "calibration": ("models", "calibration against the readers’ share", "compare_experiments"),
    "networks": ("training", "the catalogue of networks with their costs", "compare_networks"),
    "papers": ("papers", "numbers of ours beside each paper’s", "compare_papers"),
    "explanation_sanity": (
        "explanations",
        "activation maps and their checks",
        "explain_predictions",
    ),
}


def overview(inputs, assets: str) -> dict:
    """Return what every page may speak of."""
    source = inputs.settings.get("source", {})
    missing = [
        {"table": table, "page": page, "what": what, "rule": rule}
        for table, (page, what, rule) in OPTIONAL.items()
        if table not in inputs.tables
    ]
    return {
        "assets": assets,
        "data_kind": inputs.data_kind,
        "kind_words": KINDS[inputs.data_kind],
        "source": source.get("kind", "unknown"),
        "num_nodules": len(inputs.nodules),
        "num_patients": int(inputs.nodules["patient_id"].nunique()),
        "num_cubes": len(inputs.cubes),
        "num_scored": int(inputs.scores["nodule_id"].nunique()),
        "experiments": inputs.experiments,
        "methods": inputs.methods,
        "folds": sorted({run.fold for run in inputs.predictions}),
        "seeds": sorted({run.seed for run in inputs.predictions}),
        "readers_dice": readers_dice(inputs.agreement),
        "coverage_rows": [name for name in inputs.experiments if uses_coverage(inputs, name)],
        "max_spacing_mm": max_spacing(inputs.cubes),
        "num_folds": inputs.settings.get("split_patients", {}).get("num_folds"),
        "missing": missing,
        "layers": layers_of(inputs),
        "handed": inputs.handed,
        "has_viewer": bool(inputs.viewer_bundle),
    }


def overview_section(inputs) -> Section:
    """Return the section that says what came out: readers and models on one axis."""
    rows = fair_rows(inputs)
    tables, figures = {}, {}
    if rows:
        tables["side_by_side"] = side_by_side_table(rows, "overview")
        figures["side_by_side"] = side_by_side_figure(rows, "overview")
    values = {
        "rows": rows,
        "verdicts": verdict_rows(inputs),
        "num_failed_checks": int((~inputs.checks["is_passed"].astype(bool)).sum()),
        "num_checks": len(inputs.checks),
        "shown": inputs.shown_experiment,
    }
    return Section("overview", "What came out", values, tables, figures)


def readers_dice(agreement) -> float | None:
    """Return the mean Dice of one reader against the majority of the others, native grid."""
    values = agreement.loc[agreement["kind"] == "against_others", "dice"].dropna()
    return float(values.mean()) if len(values) else None


def uses_coverage(inputs, experiment: str) -> bool:
    """Tell whether an experiment looks at the coverage alone, or is confined to it."""
    settings = {record["experiment"]: settings_of(record) for record in inputs.records}
    inputs_word = settings.get(experiment, {}).get("inputs")
    return inputs.methods[experiment].startswith("coverage") or inputs_word == "coverage"


def settings_of(record: dict) -> dict:
    """Return the settings in a run's record, empty where it holds none."""
    return record.get("plan", {}).get("settings", {})


def max_spacing(cubes) -> float | None:
    """Return the largest distance of slices in the cohort, mm; None without a cube."""
    return float(cubes.native_spacing_mm[:, 0].max()) if len(cubes) else None
