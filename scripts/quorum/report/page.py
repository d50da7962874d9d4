"""The pages from their sections: templates, style, figures, tables and assets."""

import functools
import itertools
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup

from quorum import __version__
from quorum.errors import InputError
from quorum.files import write_whole, write_whole_folder
from quorum.report.agreement import agreement_section
from quorum.report.calibration import calibration_section
from quorum.report.captions import caption_files
from quorum.report.classifiers import classifiers_section
from quorum.report.cohort_flow import cohort_section
from quorum.report.comparisons import comparisons_section, volumes_section
from quorum.report.curves import curves_section
from quorum.report.data import data_section
from quorum.report.definitions import definitions_section
from quorum.report.explanations import explanations_section
from quorum.report.failures import failures_section
from quorum.report.fifth_reader import fifth_section, groups_section
from quorum.report.gallery import gallery_section, nodule_rows
from quorum.report.look import LOOK, PAGES
from quorum.report.overview import overview, overview_section
from quorum.report.papers import papers_section
from quorum.report.provenance import provenance_section
from quorum.report.quality import quality_section
from quorum.report.readers import readers_section
from quorum.report.scores import scores_section
from quorum.report.svg import number
from quorum.report.viewer import shown_cubes, viewer_files, viewer_words
from quorum.report.workflow import workflow_section


@dataclass(frozen=True)
class Page:
    """One HTML file: its name without suffix, title, what it is about, and its sections."""

    name: str
    title: str
    about: str
    sections: list


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


def make_pages(inputs, templates, assets: str) -> list:
    """Return the pages with their sections, in the order they are read."""
    card = functools.partial(templates.get_template("card.html.j2").module.card, assets=assets)
    nodules = nodule_rows(inputs)
    opened = shown_cubes(inputs, [row["nodule_id"] for row in nodules])
    viewer = {
        "opened": opened,
        "words": viewer_words(inputs, len(opened)),
        "files": viewer_files(inputs, opened),
    }
    gallery = gallery_section(inputs, nodules, card, viewer)
    sections = {
        "index": [overview_section(inputs)],
        "data": [data_section(inputs), quality_section(inputs)],
        "cohort": [cohort_section(inputs)],
        "readers": [readers_section(inputs), agreement_section(inputs)],
        "cubes": [gallery],
        "training": [curves_section(inputs)],
        "models": [
            failures_section(inputs, nodules, gallery.values["cards"]),
            fifth_section(inputs),
            scores_section(inputs),
            definitions_section(inputs),
            groups_section(inputs),
            comparisons_section(inputs),
            volumes_section(inputs),
            calibration_section(inputs),
            classifiers_section(inputs),
        ],
        "papers": [papers_section(inputs)],
        "explanations": [explanations_section(inputs)],
        "provenance": [workflow_section(inputs), provenance_section(inputs)],
    }
    return [
        Page(name, title, about, [one for one in sections[name] if one is not None])
        for name, title, about in PAGES
    ]


def render(inputs, assets: str) -> tuple:
    """Return the pages' HTML and the files of their assets folder.

    Parameters
    ----------
    inputs : quorum.report.inputs.Inputs
    assets : str
        The assets folder as the pages name it.

    Returns
    -------
    dict, iterator
        Page's file name to HTML; pairs of relative name and text or bytes.
    """
    templates = environment()
    pages = make_pages(inputs, templates, assets)
    run = overview(inputs, assets)
    html = {}
    for page in pages:
        bodies = [section_html(templates, section, run) for section in page.sections]
        html[f"{page.name}.html"] = templates.get_template("page.html.j2").render(
            run=run, page=page, pages=pages, bodies=bodies
        )
    figures = [f for page in pages for section in page.sections for f in section.figures.values()]
    captions = caption_files(inputs, templates, run, figures)
    return html, itertools.chain(asset_files(pages), captions)


def section_html(templates, section, run: dict) -> Markup:
    """Return one section's body."""
    template = templates.get_template(f"sections/{section.name}.html.j2")
    return Markup(template.render(**vars(section), run=run))


def asset_files(pages: list):
    """Yield every file of the assets folder: relative name, and text or bytes."""
    chart_style = (LOOK / "charts.css").read_text(encoding="utf-8")
    yield "report.css", (LOOK / "report.css").read_text(encoding="utf-8") + chart_style
    yield "report.js", (LOOK / "report.js").read_text(encoding="utf-8")
    for section in (section for page in pages for section in page.sections):
        yield from section.files.items()
        for table in section.tables.values():
            yield f"tables/{table.name}.csv", table.csv_text()
        for figure in section.figures.values():
            yield f"figures/{figure.name}.svg", figure.standalone(chart_style)
        yield from section.stream


def write_report(inputs, page_path, assets_path) -> int:
    """Write the assets folder, then the pages, index.html last; each whole or not at all.

    Returns
    -------
    int
        Files in the assets folder.
    """
    page_path, assets_path = Path(page_path), Path(assets_path)
    if page_path.resolve().parent != assets_path.resolve().parent:
        raise InputError(
            f"--out-page is in {page_path.parent} and --out-assets in {assets_path.parent}",
            "both in the same folder",
            "choose a folder beside the page",
        )
    pages, files = render(inputs, assets_path.name)
    num_files = 0
    with write_whole_folder(assets_path) as folder:
        for name, content in files:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            num_files += 1
    for name, text in reversed(pages.items()):
        with write_whole(page_path.with_name(name)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return num_files
