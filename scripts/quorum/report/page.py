"""The page from its sections: templates, style, figures, tables and assets."""

import functools
from pathlib import Path

import jinja2
from markupsafe import Markup

from quorum import __version__
from quorum.errors import InputError
from quorum.files import write_whole, write_whole_folder
from quorum.report.agreement import agreement_section
from quorum.report.cohort_flow import cohort_section
from quorum.report.curves import curves_section
from quorum.report.data import data_section
from quorum.report.gallery import gallery_section
from quorum.report.inputs import KINDS
from quorum.report.look import LOOK
from quorum.report.papers import papers_section
from quorum.report.provenance import provenance_section
from quorum.report.quality import quality_section
from quorum.report.readers import readers_section
from quorum.report.scores import scores_section
from quorum.report.svg import number


def environment() -> jinja2.Environment:
    """Return the templates' environment: everything escaped, unknown names refused."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(LOOK),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = number
    templates.globals["version"] = __version__
    return templates


def make_sections(inputs, templates, assets: str) -> list:
    """Return the page's sections in the order they are read."""
    card = functools.partial(templates.get_template("card.html.j2").module.card, assets=assets)
    return [
        cohort_section(inputs),
        readers_section(inputs),
        *([agreement_section(inputs)] if inputs.reader_tables else []),
        gallery_section(inputs, card),
        curves_section(inputs),
        scores_section(inputs),
        papers_section(inputs),
        data_section(inputs),
        quality_section(inputs),
        provenance_section(inputs),
    ]


def overview(inputs, assets: str) -> dict:
    """Return what the head of the page speaks of."""
    source = inputs.settings.get("source", {})
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
    }


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


def render(inputs, assets: str) -> tuple:
    """Return the page's HTML and the files of its assets folder.

    Parameters
    ----------
    inputs : quorum.report.inputs.Inputs
    assets : str
        The assets folder as the page names it.

    Returns
    -------
    str, dict
        Relative name to text or bytes.
    """
    templates = environment()
    sections = make_sections(inputs, templates, assets)
    style = (LOOK / "report.css").read_text(encoding="utf-8")
    chart_style = (LOOK / "charts.css").read_text(encoding="utf-8")
    files = {"report.css": style + chart_style}
    files["report.js"] = (LOOK / "report.js").read_text(encoding="utf-8")
    head = overview(inputs, assets)
    for section in sections:
        files.update(section.files)
        for table in section.tables.values():
            files[f"tables/{table.name}.csv"] = table.csv_text()
        for figure in section.figures.values():
            files[f"figures/{figure.name}.svg"] = figure.standalone(chart_style)
    bodies = []
    for section in sections:
        template = templates.get_template(f"sections/{section.name}.html.j2")
        bodies.append(Markup(template.render(**vars(section), **{"run": head})))
    page = templates.get_template("index.html.j2").render(
        run=head, sections=sections, bodies=bodies
    )
    return page, files


def write_report(inputs, page_path, assets_path):
    """Write the assets folder, then the page; each whole or not at all."""
    page_path, assets_path = Path(page_path), Path(assets_path)
    if page_path.resolve().parent != assets_path.resolve().parent:
        raise InputError(
            f"--out-page is in {page_path.parent} and --out-assets in {assets_path.parent}",
            "both in the same folder",
            "choose a folder beside the page",
        )
    page, files = render(inputs, assets_path.name)
    with write_whole_folder(assets_path) as folder:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with write_whole(page_path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return len(files)
