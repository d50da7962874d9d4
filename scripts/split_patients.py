"""Split the cohort's patients into a locked test part and folds.

Reads
    --nodules     nodules.csv of select_nodules (schema: nodules).
Writes
    --out-splits  splits.csv, one row a patient (schema: splits).
Method
    A patient is in one part, with all scans and nodules. Balanced are the numbers of patients,
    of nodules, of nodules in each third of the diameters and in each class of median malignancy
    (below, at, above 3). Patients with most nodules come first, equal ones in a seeded order;
    each goes to the part where it lowers the sum of (count - expected)^2 / expected most; a part
    is never left empty while a patient is left for it.
Source
    Sechidis et al. 2011, doi 10.1007/978-3-642-23808-6_10 (stratification by the greatest need).
"""

import numpy as np
import pandas as pd

from quorum.cohort import seeded_key
from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

TEST = "test"
INDETERMINATE = 3  # the middle of the five steps of malignancy


def count_strata(nodules: pd.DataFrame) -> pd.DataFrame:
    """Return what is balanced, one row a patient: counts of patients, nodules and classes.

    Parameters
    ----------
    nodules : DataFrame
        The nodules table.

    Returns
    -------
    DataFrame of int
        Indexed by patient_id; columns patients, nodules, small, medium, large, and the classes
        of median malignancy; columns without any nodule are left out.
    """
    diameter = nodules["diameter_mm"].to_numpy(float)
    low, high = np.quantile(diameter, [1 / 3, 2 / 3])
    malignancy = nodules["malignancy_median"].to_numpy(float)
    strata = pd.DataFrame(
        {
            "nodules": np.ones(len(nodules), int),
            "small": diameter <= low,
            "medium": (diameter > low) & (diameter <= high),
            "large": diameter > high,
            "malignancy_below": malignancy < INDETERMINATE,
            "malignancy_at": malignancy == INDETERMINATE,
            "malignancy_above": malignancy > INDETERMINATE,
        },
        dtype=int,
    )
    counts = strata.groupby(nodules["patient_id"].to_numpy(dtype=object)).sum()
    counts.insert(0, "patients", 1)
    return counts.loc[:, counts.sum() > 0]


def part_shares(test_fraction: float, num_folds: int) -> dict:
    """Return each part's share of the nodules; no test part when its fraction is 0."""
    shares = {TEST: test_fraction} if test_fraction > 0 else {}
    return shares | {f"fold{k}": (1 - test_fraction) / num_folds for k in range(num_folds)}


def assign_parts(counts: pd.DataFrame, shares: dict, seed: int) -> dict:
    """Return each patient's part.

    Parameters
    ----------
    counts : DataFrame of int
        `count_strata`.
    shares : dict of str to float
        Each part's share; they sum to 1.
    seed : int
        Orders patients with equally many nodules.

    Raises
    ------
    InputError
        When there are fewer patients than parts.
    """
    if len(counts) < len(shares):
        raise InputError(
            f"{len(counts)} patients can't fill {len(shares)} parts ({', '.join(shares)})",
            f"at least {len(shares)} patients with a selected nodule",
            "select more patients, or lower split_patients.num_folds",
        )
    names = list(shares)
    expected = np.outer(list(shares.values()), counts.sum().to_numpy(float))
    held = np.zeros_like(expected)
    num_held = np.zeros(len(names), int)
    order = sorted(
        counts.index, key=lambda name: (-counts["nodules"][name], seeded_key(name, seed))
    )
    added = dict(zip(counts.index, counts.to_numpy(float), strict=True))
    parts = {}
    for place, patient in enumerate(order):
        missing = held - expected
        # (missing + added)^2 - missing^2, relative to what is expected
        cost = (added[patient] * (2 * missing + added[patient]) / expected).sum(axis=1)
        if len(order) - place <= np.count_nonzero(num_held == 0):
            cost[num_held > 0] = np.inf
        chosen = int(np.argmin(cost))
        held[chosen] += added[patient]
        num_held[chosen] += 1
        parts[patient] = names[chosen]
    return parts


def check_fractions(test_fraction: float, num_folds: int):
    """Raise an InputError unless 0 <= test_fraction < 1 and there is at least one fold."""
    if not 0 <= test_fraction < 1 or num_folds < 1:
        raise InputError(
            f"a test fraction of {test_fraction} with {num_folds} folds was asked for",
            "a fraction from 0 to below 1, and at least one fold",
            "correct split_patients in the config",
        )


def main(argv=None):
    """Read the cohort, assign each patient to a part, write the splits."""
    parser = make_parser(__doc__)
    parser.add_argument("--nodules", required=True)
    parser.add_argument("--test-fraction", type=float, required=True)
    parser.add_argument("--num-folds", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out-splits", required=True)
    args = parser.parse_args(argv)

    check_fractions(args.test_fraction, args.num_folds)
    counts = count_strata(read_table(args.nodules, "nodules"))
    parts = assign_parts(counts, part_shares(args.test_fraction, args.num_folds), args.seed)
    splits = pd.DataFrame(
        {
            "patient_id": counts.index,
            "part": [parts[patient] for patient in counts.index],
            "num_nodules": counts["nodules"].to_numpy(),
        }
    )
    log_counts("patients", came_in=len(counts), dropped={}, went_out=len(splits))
    for part, rows in counts.groupby(pd.Series(parts)):
        words = ", ".join(f"{name} {count}" for name, count in rows.sum().items())
        LOG.info("%s: %s", part, words)
    write_table(splits, args.out_splits, "splits", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
