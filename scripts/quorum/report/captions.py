"""Captions for Snakemake's own report, with this run's thresholds and counts.

Snakemake renders a caption with the configuration alone; what a run counted isn't in it. So the
report writes the captions, from workflow/report/captions, and Snakemake finds them in its assets.
"""

import json
import re

from markupsafe import Markup

from quorum.report.fifth_reader import verdict_rows
from quorum.report.look import LOOK
from quorum.report.scores import fair_rows
from quorum.report.tabular import records

# What reStructuredText and the template language would take for their own.
SPECIAL = re.compile(r"([\\*`|_<>{}%#])")
CRITERIA = (
    "min_annotations", "max_annotations", "min_diameter_mm", "max_diameter_mm",
    "max_slice_thickness_mm", "num_patients", "seed",
)  # fmt: skip


def rst(words) -> Markup:
    """Return text in which reStructuredText finds no markup."""
    return Markup(SPECIAL.sub(r"\\\1", str(words).replace("{", "(").replace("}", ")")))


def caption_files(inputs, templates, run: dict, figures: list):
    """Yield each caption's name in the assets folder, and its text.

    Parameters
    ----------
    inputs : quorum.report.inputs.Inputs
    templates : jinja2.Environment
    run : dict
        What every page may speak of.
    figures : list of quorum.report.svg.Figure
    """
    words = templates.overlay(autoescape=False)
    words.filters = {**templates.filters, "rst": rst}
    criteria = inputs.settings.get("select_nodules", {})
    failed = ~inputs.checks["is_passed"].astype(bool)
    values = {
        "run": run,
        "criteria": {name: criteria.get(name) for name in CRITERIA},
        "steps": records(inputs.attrition),
        "num_groups": int(inputs.attrition["num_in"].iloc[0]) if len(inputs.attrition) else 0,
        "num_agreement_nodules": int(inputs.agreement["nodule_id"].nunique()),
        "tie_rule": inputs.cubes.attributes.get("tie_rule", "not stated"),
        "num_checks": len(failed),
        "num_failed_checks": int(failed.sum()),
        "resamples": inputs.settings.get("compare_experiments", {}).get("bootstrap_resamples"),
        "fair": fair_rows(inputs),
        "verdicts": verdict_rows(inputs),
    }
    for path in sorted((LOOK / "captions").glob("*.rst")):
        text = words.get_template(f"captions/{path.name}").render(values)
        yield f"captions/{path.name}", text
    yield "captions/figures.rst", figure_captions(figures, run["data_kind"])


def figure_captions(figures: list, data_kind: str) -> str:
    """Return one caption for all figures, from which Snakemake picks each one by its name."""
    mark = "PHANTOM DATA. " if data_kind == "phantom" else ""
    words = {figure.name: rst(f"{mark}{figure.title}. {figure.alt}") for figure in figures}
    table = json.dumps(words, ensure_ascii=False)
    return f"{{% set words = {table} %}}{{{{ words[snakemake.wildcards.figure] }}}}\n"
