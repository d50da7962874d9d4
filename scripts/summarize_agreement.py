"""Measure how far readers agree: outlines, existence, ratings, size; with 95 % intervals.

Reads
    --nodules       select_nodules/nodules.csv, the cohort (schema: nodules).
    --all-nodules   group_annotations/nodules.csv, for the agreement on existence.
    --agreement     agreement.csv of compare_readers (schema: agreement).
    --annotations, --contours   of read_annotations.  --series, of list_series.
Writes
    --out-summary   summary.csv, one row a measure and stratum (schema: reader_agreement).
    --out-extremes  extremes.csv, outlines of the most and least agreed nodules (schema:
                    extremes).
Method
    Overlap and distance: mean over nodules of the mean over pairs of readers; diversity is
    1 - IoU. Existence: specific agreement, of pairs of readers of whom at least one marked the
    nodule. Ratings: Krippendorff's alpha, ordinal, nominal for internal structure and
    calcification. Diameter and volume: ICC(1,1). Readers are slots, not persons, and they saw
    each other's marks. Intervals: resampled whole patients.
Source
    Armato 2011, doi 10.1118/1.3528204; Krippendorff 2011; Shrout and Fleiss 1979, doi
    10.1037/0033-2909.86.2.420; Cicchetti and Feinstein 1990, doi 10.1016/0895-4356(90)90159-M.
"""

import pandas as pd

from quorum.agreement_extremes import extreme_outlines
from quorum.agreement_measures import Cohort, summarize
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.reader_nodules import join_annotations
from quorum.tables import read_table, write_table

INPUTS = {
    "nodules": "nodules",
    "all-nodules": "nodules",
    "agreement": "agreement",
    "annotations": "annotations",
    "contours": "contours",
    "series": "series",
}


def main(argv=None):
    """Read the tables, measure each stratum, write the summary and the extremes."""
    parser = make_parser(__doc__)
    for name in INPUTS:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--bootstrap-resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out-summary", required=True)
    parser.add_argument("--out-extremes", required=True)
    args = parser.parse_args(argv)

    tables = {
        name: read_table(getattr(args, name.replace("-", "_")), schema)
        for name, schema in INPUTS.items()
    }
    nodules = tables["nodules"]
    names = [name for ids in nodules["annotation_ids"] for name in ids]
    readers = join_annotations(tables["annotations"], names)
    cohort = Cohort(nodules, tables["agreement"], readers, tables["series"])
    summary = summarize(
        cohort, tables["all-nodules"], resamples=args.bootstrap_resamples, seed=args.seed
    )
    with pd.option_context("display.width", 160):
        LOG.info("\n%s", summary[summary["stratum"] == "all"].to_string())
    made_by = provenance(__file__, args)
    extremes = extreme_outlines(nodules, tables["agreement"], tables["contours"], tables["series"])
    write_table(extremes, args.out_extremes, "extremes", made_by)
    write_table(summary, args.out_summary, "reader_agreement", made_by)


if __name__ == "__main__":
    run_command(main)
