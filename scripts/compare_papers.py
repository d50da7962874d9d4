"""Set each published number beside our run of the nearest protocol, differences spelled out.

Reads
    --published  config/published/*.yaml: method, number, protocol, source, how it was read
    --scores     scores.csv of every run that may stand beside them, --nodule-scores beside it
    --splits     splits.csv: how many folds there are
Writes
    --out-papers  papers.csv, one row a published number
Method
    A row names our experiments, the nearest protocol first; the first that was run stands beside
    it, in the paper's metric, against the consensus, whole nodules, with a 95 % interval over
    patients. An energy distance stands beside that of a network that draws outlines, and our
    readers' own diversity beside it. Where a paper gives its readers' figure, the definition of
    agreement that comes nearest among our readers is named: it tells which comparison was meant.
    What a paper leaves open is `unknown`. A phantom's number stands beside no paper.
Source
    The numbers' own sources are in their rows.
"""

import pandas as pd

from quorum.command import log_counts, make_parser, provenance, run_command
from quorum.comparison import read_runs, refuse_other_cohort
from quorum.published import (
    GED,
    TASKS,
    energy_protocol,
    our_columns,
    paper_columns,
    spell_differences,
)
from quorum.published_rows import read_published
from quorum.tables import column_names, read_table, write_table

CONSENSUS = {
    "majority": "majority, at least half of the readers",
    "staple": "STAPLE, probability at least 0.5",
}


def our_protocol(scores: pd.DataFrame, splits: pd.DataFrame, consensus: str) -> dict:
    """Return our protocol in words, by the aspects that papers state."""
    readers = scores[scores["subject"].str.startswith("reader")]
    counts = sorted(readers.groupby("nodule_id")["subject"].nunique().unique())
    folds = sorted(scores["fold"].unique())
    num_folds = splits["part"].nunique() - ("test" in set(splits["part"]))
    held_out = ", ".join(str(fold) for fold in folds)
    return {
        "nodules": f"{scores['nodule_id'].nunique()} of {scores['patient_id'].nunique()} patients",
        "readers": f"marked by {' or '.join(map(str, counts)) or 'one'} readers",
        "consensus": CONSENSUS.get(consensus, consensus),
        "split": f"by patient, fold {held_out} of {num_folds} held out, test part locked",
        "input": "the nodule's centre as a reader has it; 1 mm grid, covered region",
    }


def main(argv=None):
    """Parse, read, compare, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--published", required=True, nargs="+", help="files of config/published")
    parser.add_argument("--scores", required=True, nargs="+", help="scores.csv of every run")
    parser.add_argument("--nodule-scores", required=True, nargs="+", help="beside every one")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--consensus", required=True, help="the reference called consensus")
    parser.add_argument("--resamples", type=int, required=True, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, required=True, help="seed of the resamples")
    parser.add_argument("--out-papers", required=True, help="CSV to write")
    args = parser.parse_args(argv)
    published = read_published(args.published)
    scores, splits = read_runs(args.scores, "scores"), read_table(args.splits, "splits")
    nodules = read_runs(args.nodule_scores, "nodule_scores")
    refuse_other_cohort(scores, nodules)
    protocol, rows = our_protocol(scores, splits, args.consensus), []
    chance = {"consensus": args.consensus, "resamples": args.resamples, "seed": args.seed}
    counted = published.pop("counts", [])  # beside our own counts: count_nodules
    for topic, papers in published.items():
        for row in papers:
            paper, ours = paper_columns(topic, row), {"no_value_reason": TASKS.get(topic)}
            if row.get("nearest"):
                ours = our_columns(row, scores, nodules, **chance)
            own = protocol
            if paper["metric"] == GED and ours.get("our_experiment"):
                drawn = nodules[nodules["experiment"] == ours["our_experiment"]]
                own = energy_protocol(drawn, protocol)
            differences = spell_differences(paper, ours, own)
            rows.append({**paper, **ours, "differences": differences})
    frame = pd.DataFrame(rows, columns=column_names("papers"))
    write_table(frame, args.out_papers, "papers", provenance(__file__, args))
    came_in = sum(map(len, published.values())) + len(counted)
    dropped = {"counts, which count_nodules compares": len(counted)}
    log_counts("published numbers", came_in=came_in, dropped=dropped, went_out=len(frame))


if __name__ == "__main__":
    run_command(main)
