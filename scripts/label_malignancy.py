"""Label nodules by the radiologists' suspicion of malignancy, by each rule that papers use.

Reads
    --nodules    nodules.csv (schema: nodules).
    --diagnosis  tcia-diagnosis-data-2012-04-20.xls, where there is one.
Writes
    --out-labels     labels.csv, one row a nodule and rule (schema: malignancy_labels).
    --out-counts     label_counts.csv, how many nodules each rule labels (schema: label_counts).
    --out-diagnoses  diagnoses.csv, one row a patient of the table (schema: diagnoses); empty
                     without it.
Method
    The ratings are a radiologist's suspicion from 1 to 5, not pathology, and every label is
    named so. Rules: median over 3 suspicious, under 3 unsuspicious, 3 dropped or kept with
    either side; the same by mean; majority of the readers who decided. The diagnoses are of
    patients, not of nodules.
Source
    Armato 2011, doi 10.1118/1.3528204; TCIA's LIDC-IDRI page, doi 10.7937/k9/tcia.2015.lo9ql9sx.
"""

import numpy as np
import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.diagnoses import read_diagnoses
from quorum.tables import column_names, read_table, write_table

SUSPICIOUS, UNSUSPICIOUS, DROPPED = "suspicious", "unsuspicious", "dropped"
MIDDLE = 3


def by_threshold(value: float, middle: str) -> str:
    """Return the label of a median or mean rating; `middle` is the label of exactly 3.

    A nodule without a rating is dropped.
    """
    if not np.isfinite(value):
        return DROPPED
    if value == MIDDLE:
        return middle
    return SUSPICIOUS if value > MIDDLE else UNSUSPICIOUS


def median_of(ratings: np.ndarray) -> float:
    """Return the median, nan for none."""
    return float(np.median(ratings)) if len(ratings) else np.nan


def mean_of(ratings: np.ndarray) -> float:
    """Return the mean, nan for none."""
    return float(np.mean(ratings)) if len(ratings) else np.nan


def by_majority(ratings: np.ndarray) -> str:
    """Return what most of the readers who decided say; as many on both sides are dropped."""
    over, under = int((ratings > MIDDLE).sum()), int((ratings < MIDDLE).sum())
    if over == under:
        return DROPPED
    return SUSPICIOUS if over > under else UNSUSPICIOUS


RULES = {
    "median_without_3": lambda ratings: by_threshold(median_of(ratings), DROPPED),
    "median_3_unsuspicious": lambda ratings: by_threshold(median_of(ratings), UNSUSPICIOUS),
    "median_3_suspicious": lambda ratings: by_threshold(median_of(ratings), SUSPICIOUS),
    "mean_without_3": lambda ratings: by_threshold(mean_of(ratings), DROPPED),
    "majority_of_decided": by_majority,
}


def label_nodules(nodules: pd.DataFrame) -> pd.DataFrame:
    """Return one row a nodule and rule: nodule_id, series_uid, patient_id, rule, label."""
    rows = []
    for nodule in nodules.itertuples():
        ratings = np.asarray(nodule.malignancy_values, float)
        ratings = ratings[np.isfinite(ratings)]
        head = nodule.nodule_id, nodule.series_uid, nodule.patient_id
        rows += [(*head, rule, decide(ratings)) for rule, decide in RULES.items()]
    return pd.DataFrame(rows, columns=column_names("malignancy_labels"))


def count_labels(labels: pd.DataFrame) -> pd.DataFrame:
    """Return how many nodules and patients each rule gives each label, zeros too."""
    rows = []
    for rule in RULES:
        for label in (SUSPICIOUS, UNSUSPICIOUS, DROPPED):
            part = labels[(labels["rule"] == rule) & (labels["label"] == label)]
            rows.append((rule, label, len(part), part["patient_id"].nunique()))
    return pd.DataFrame(rows, columns=column_names("label_counts"))


def main(argv=None):
    """Read the nodules, label them, read the diagnoses, write the three tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--nodules", required=True)
    parser.add_argument("--diagnosis", nargs="?")
    for name in ("labels", "counts", "diagnoses"):
        parser.add_argument(f"--out-{name}", required=True)
    args = parser.parse_args(argv)

    labels = label_nodules(read_table(args.nodules, "nodules"))
    counts = count_labels(labels)
    for row in counts.itertuples():
        LOG.info("%s: %d %s", row.rule, row.num_nodules, row.label)
    diagnoses = pd.DataFrame(columns=column_names("diagnoses"))
    if args.diagnosis:
        diagnoses = read_diagnoses(args.diagnosis)
        for word, count in diagnoses["diagnosis"].value_counts().items():
            LOG.info("diagnoses by patient: %d %s", count, word)
    made_by = provenance(__file__, args)
    write_table(labels, args.out_labels, "malignancy_labels", made_by)
    write_table(counts, args.out_counts, "label_counts", made_by)
    write_table(diagnoses, args.out_diagnoses, "diagnoses", made_by)


if __name__ == "__main__":
    run_command(main)
