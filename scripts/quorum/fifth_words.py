"""The fifth reader test of one experiment as one sentence."""

import pandas as pd

from quorum.frozen_plan import TEST

VERDICTS = {
    "not_inferior": "not inferior to a reader",
    "not_shown": "non-inferiority not shown",
    "none": "no verdict",
}
PARTS = {"cross_validation": "cross-validation", TEST: "locked test part"}
ENDPOINTS = {
    "others": "against the majority of the other three",
    "readers": "against single readers",
}


def fifth_words(frame: pd.DataFrame, experiment: str) -> str:
    """Return what the test found of an experiment, on the locked test part where it was opened.

    Parameters
    ----------
    frame : DataFrame
        Table `fifth_reader`.
    experiment : str

    Returns
    -------
    str
        One sentence with both endpoints, the margin, and the verdict or why there is none.
    """
    rows = frame[frame["experiment"] == experiment]
    if (rows["part"] == TEST).any():
        rows = rows[rows["part"] == TEST]
    if not len(rows):
        return f"The fifth reader test was not made of {experiment}: no nodule has its endpoints."
    found = [
        f"{difference_words(row)} {ENDPOINTS[row['endpoint']]}" for row in rows.to_dict("records")
    ]
    first = rows.iloc[0]
    verdict = VERDICTS[first["verdict"]]
    if first["verdict"] == "none":
        verdict += f" ({first['no_verdict_reason']})"
    return (
        f"Fifth reader test of {experiment} ({PARTS[first['part']]}, {first['num_nodules']} "
        f"nodules of {first['num_patients']} patients): Dice of the model less that of a reader "
        f"{' and '.join(found)}, margin {first['margin']:g}: {verdict}."
    )


def difference_words(row: dict) -> str:
    """Return a difference with its interval."""
    words = f"{row['difference']:.3f}"
    if pd.isna(row["low"]):
        return f"{words} (no interval: one patient)"
    return f"{words} (95 % interval {row['low']:.3f} to {row['high']:.3f})"
