"""HTML pages with their assets beside them: cohort, readers, cubes, models, papers, provenance.

Reads
    series.csv, nodules.csv, attrition.csv, agreement.csv, shards.csv, splits.csv, checks.csv,
    volumes.csv, summary.csv, offsets.csv; per shard the findings, the cubes (HDF5) and the dropped
    nodules; per run history.csv, record.json, predictions (HDF5) and scores; figures of papers
    (YAML of workflow/schemas/published.schema.yaml); Snakemake's benchmark folder; and as far as
    they were made, further tables, each known by the schema that its metadata names.
Writes
    --out-page: index.html, and the other pages beside it; they open from the disk without a
    network.
    --out-assets: a folder: report.css, report.js, tables/*.csv, figures/*.svg, and in nodules/ one
    picture (WebP) and one card (JavaScript, loaded when wanted) a nodule.
Method
    Every number comes from the inputs. Phantoms and cut-out volumes get no verdict on the fifth
    reader, phantoms no ranking and no place beside papers. Cubes are read one at a time.
Source
    quorum/report, one module a section; words and style in workflow/report.
"""

from quorum.command import log_counts, make_parser, run_command
from quorum.report.inputs import read_inputs
from quorum.report.page import write_report

TABLES = (
    "series", "nodules", "attrition", "agreement", "shard-plan", "splits", "checks", "volumes",
    "summary", "offsets",
)  # fmt: skip
LISTS = ("findings", "shards", "dropped", "histories", "records", "predictions", "scores")


def main(argv=None):
    """Read the flags, check the inputs, write the pages."""
    parser = make_parser(__doc__)
    for name in TABLES:
        parser.add_argument(f"--{name}", required=True, help=f"the table of {name}")
    for name in LISTS:
        parser.add_argument(f"--{name}", required=True, nargs="*", help=f"the files of {name}")
    parser.add_argument("--published", nargs="*", default=[], help="files of config/published")
    parser.add_argument("--tables", nargs="*", default=[], help="further tables, as far as made")
    parser.add_argument("--viewer", nargs="?", default="", const="", help="NiiVue's script")
    parser.add_argument("--max-viewer-nodules", type=int, help="cubes that it can open; all")
    parser.add_argument("--explanations", nargs="*", default=[], help="maps, HDF5, optional")
    parser.add_argument("--handed", nargs="*", default=[], help="cards and summary to link to")
    parser.add_argument("--datasets", default="", help="config/datasets.yaml, for its citations")
    parser.add_argument("--benchmarks", default="", help="Snakemake's folder of benchmarks")
    parser.add_argument("--settings", default="{}", help="the configuration as JSON")
    parser.add_argument("--out-page", required=True, help="index.html")
    parser.add_argument("--out-assets", required=True, help="folder beside the page")
    args = parser.parse_args(argv)
    inputs = read_inputs(args)
    log_counts(
        "nodules in the report",
        came_in=len(inputs.nodules),
        dropped={"no cube": len(inputs.nodules) - len(inputs.cubes)},
        went_out=len(inputs.cubes),
    )
    write_report(inputs, args.out_page, args.out_assets)


if __name__ == "__main__":
    run_command(main)
