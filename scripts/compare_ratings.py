"""Look for cases whose lobulation and spiculation were rated on an inverted scale.

Reads
    --annotations  annotations.csv (schema: annotations).
    --nodules      nodules.csv of group_annotations (schema: nodules).
Writes
    --out-cases    cases.csv, one row a series: how likely its ratings are on an inverted scale
                   (schema: inverted_cases).
    --out-summary  summary.csv, the share of inverted cases that the early ones can hold, and the
                   evidence for it (schema: inverted_summary).
Method
    TCIA's page says that about 100 of the first 399 cases have inverted scales, not which. Two
    looks. Mixture: most nodules are rated 1, so an inverted case is full of fives; the share f of
    inverted cases is how far the share of fives in the early cases lies from the later ones'
    towards their share of ones, with an interval over resampled patients. Case by case: the
    likelihood of a series' pairs of median ratings (lobulation, spiculation), given the median
    malignancy, under the later cases' frequencies and under the same mirrored. Later cases show
    how often a case that is not inverted looks so.
Source
    TCIA's LIDC-IDRI page, doi 10.7937/k9/tcia.2015.lo9ql9sx.
"""

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.inverted_scales import inverted_cases, inverted_summary
from quorum.tables import read_table, write_table


def main(argv=None):
    """Read the tables, weigh every case, write cases and summary."""
    parser = make_parser(__doc__)
    for name in ("--annotations", "--nodules", "--out-cases", "--out-summary"):
        parser.add_argument(name, required=True)
    parser.add_argument("--bootstrap-resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    annotations = read_table(args.annotations, "annotations")
    cases = inverted_cases(read_table(args.nodules, "nodules"))
    draws = {"resamples": args.bootstrap_resamples, "seed": args.seed}
    summary = inverted_summary(annotations, cases, **draws)
    LOG.info("\n%s", summary.to_string())
    made_by = provenance(__file__, args)
    write_table(cases, args.out_cases, "inverted_cases", made_by)
    write_table(summary, args.out_summary, "inverted_summary", made_by)


if __name__ == "__main__":
    run_command(main)
