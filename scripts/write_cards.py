"""Write the model card, data card, methods paragraph, checklists and references of a run.

Reads
    --table1, --performance  describe_splits
    --findings, --dropped    check_series and extract_cubes of every shard
    --agreement, --attrition compare_readers, select_nodules
    --summary, --scores      compare_experiments, score_predictions
    --fifth-reader           compare_with_readers
    --records                record.json of every run
    --datasets               config/datasets.yaml
    --settings               the configuration as JSON
Writes
    --out-files  in one folder: model_card, data_card, methods, checklist_claim, checklist_tripod_ai
                 and checklist_dome, each .md and .html; checklists.csv, the table `checklists`, one
                 row an item with its link into the report; references.bib
Method
    Templates and answers of workflow/handover are filled from the run. An item that the run says
    nothing of is `not reported`.
Source
    Mitchell 2019 (10.1145/3287560.3287596), Gebru 2021 (10.1145/3458723), CLAIM 2024
    (10.1148/ryai.240300), TRIPOD+AI (10.1136/bmj-2023-078378), DOME (10.1038/s41592-021-01205-4)
"""

from pathlib import Path

from quorum.card_files import FILES
from quorum.card_inputs import add_inputs, read_facts
from quorum.cards import make_pages
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.tables import write_table


def main(argv=None):
    """Parse, read, fill, write."""
    parser = make_parser(__doc__)
    add_inputs(parser)
    parser.add_argument("--out-files", required=True, nargs="+", help="every file, by its name")
    args = parser.parse_args(argv)
    paths = {Path(path).name: Path(path) for path in args.out_files}
    if set(paths) != set(FILES):
        raise InputError(
            f"--out-files names {sorted(paths)}", f"{sorted(FILES)}", "name each file once"
        )
    files, table = make_pages(read_facts(args))
    write_table(table, paths["checklists.csv"], "checklists", provenance(__file__, args))
    for name, text in files.items():
        with write_whole(paths[name]) as temporary:
            temporary.write_text(text, encoding="utf-8")
    counts = table.groupby("checklist")["status"].value_counts()
    for (name, status), count in counts.items():
        LOG.info("%s: %d items %s", name, count, status)


if __name__ == "__main__":
    run_command(main)
