"""Criteria that choose a cohort of nodules, one function each, and the count each one drops.

A criterion is a function of the nodules table that returns which rows stay.
"""

import hashlib

import numpy as np
import pandas as pd

from quorum.closed_schema import nearest_phrase
from quorum.errors import InputError
from quorum.grouping import MAX_READERS
from quorum.outlines import slice_index_of


def apply_steps(nodules: pd.DataFrame, steps: list) -> tuple:
    """Apply criteria one after the other and count what each one drops.

    Parameters
    ----------
    nodules : DataFrame
        The nodules table.
    steps : list of (str, callable)
        Each criterion in words, and a function of the nodules left that returns which stay
        (bool, one a row) and a note (str).

    Returns
    -------
    nodules : DataFrame
        What is left.
    attrition : DataFrame
        The attrition table; each step's num_out is the next one's num_in.
    """
    rows = []
    for step, (criterion, decide) in enumerate(steps, start=1):
        stays, note = decide(nodules)
        stays = np.asarray(stays, bool)
        rows.append(
            {
                "step": step,
                "criterion": criterion,
                "num_in": len(nodules),
                "num_dropped": int((~stays).sum()),
                "num_out": int(stays.sum()),
                "note": note,
            }
        )
        nodules = nodules[stays]
    names = ["step", "criterion", "num_in", "num_dropped", "num_out", "note"]
    return nodules.reset_index(drop=True), pd.DataFrame(rows, columns=names)


def separate_groups(limit: int):
    """Return the criterion that sets groups of more than `limit` annotations apart."""

    def decide(nodules):
        stays = (nodules["num_annotations"] <= limit).to_numpy(bool)
        num_series = nodules.loc[~stays, "series_uid"].nunique()
        return stays, (
            f"groups of more than {limit} in {num_series} series: neighbouring nodules that the "
            "grouping can't separate at its smallest tolerance"
        )

    return decide


def within(column: str, low=None, high=None):
    """Return the criterion low <= column <= high; a bound of None is none."""

    def decide(nodules):
        values = nodules[column].to_numpy(float)
        stays = np.ones(len(values), bool)
        if low is not None:
            stays &= values >= low
        if high is not None:
            stays &= values <= high
        return stays, ""

    return decide


def thin_slices(series: pd.DataFrame, max_slice_thickness_mm: float):
    """Return the criterion that the series' header slice thickness is at most this."""
    is_thin = series["slice_thickness_mm"] <= max_slice_thickness_mm
    thin = set(series.loc[is_thin, "series_uid"])
    return lambda nodules: (nodules["series_uid"].isin(thin), "")


def listed_patients(patients: list, known: list):
    """Return the criterion that the patient is one of a list.

    Raises
    ------
    InputError
        When a patient of the list is not in the series table; names the nearest that is.
    """
    unknown = [patient for patient in patients if patient not in set(known)]
    if unknown:
        raise InputError(
            f"select_nodules.patients names {unknown[0]!r}, which is no patient of series.csv",
            nearest_patient(unknown[0], known),
            "correct the patient's name in the config",
        )
    return lambda nodules: (nodules["patient_id"].isin(patients), "")


def nearest_patient(name: str, known: list) -> str:
    """Return a phrase with the known patient whose name is nearest."""
    phrase = nearest_phrase(name, known)
    return phrase if phrase.startswith("'") else f"a name such as {known[0]!r}"


def among_files(files: pd.DataFrame):
    """Return the criterion that files of the nodule's series are at hand."""
    at_hand = set(files["source_series_uid"])
    note = "dropped: series not among the local files"
    return lambda nodules: (nodules["series_uid"].isin(at_hand), note)


def inside_volumes(files: pd.DataFrame, slices: pd.DataFrame):
    """Return the criterion that the images at hand contain the nodule's centre.

    A series with DICOM files or a whole volume contains all its nodules; a cut-out volume the
    ones whose centre lies within its rows, columns and slices.
    """
    whole = set(files.loc[~files["is_cut_out"].astype(bool), "source_series_uid"])
    cut_outs = dict(list(files[files["is_cut_out"].astype(bool)].groupby("source_series_uid")))
    z_of = slices[slices["series_uid"].isin(set(cut_outs))].groupby("series_uid")["z_mm"]
    z_of = {uid: z.to_numpy(float) for uid, z in z_of}

    def contains(nodule) -> bool:
        if nodule.series_uid in whole:
            return True
        volumes = cut_outs[nodule.series_uid]
        center = {
            "row": nodule.center_row_px,
            "column": nodule.center_column_px,
            "slice": float(slice_index_of(nodule.center_z_mm, z_of[nodule.series_uid])),
        }
        holds = np.ones(len(volumes), bool)
        for axis, at in center.items():
            # A voxel reaches half its size to both sides of its centre.
            first = volumes[f"{axis}0"].to_numpy(float) - 0.5
            holds &= (at >= first) & (at < first + volumes[f"num_{axis}s"].to_numpy(float))
        return bool(holds.any())

    return lambda nodules: ([contains(nodule) for nodule in nodules.itertuples()], "")


def drawn_patients(num_patients: int, seed: int):
    """Return the criterion that the patient is among the first of a seeded order.

    The order is that of SHA-256 of "<seed>:<patient_id>": a larger number contains the smaller,
    and a patient's place never depends on the others.
    """

    def decide(nodules):
        patients = sorted(set(nodules["patient_id"]), key=lambda name: seeded_key(name, seed))
        note = f"{min(num_patients, len(patients))} of {len(patients)} patients, seed {seed}"
        return nodules["patient_id"].isin(patients[:num_patients]), note

    return decide


def seeded_key(name: str, seed: int) -> str:
    """Return a text whose order over names is random and fixed by the seed."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def chosen_limit(max_annotations: int) -> int:
    """Return above how many annotations a group is no single nodule.

    Four readers marked each scan, so five annotations are two nodules or one marked twice; only
    who asks for more by max_annotations gets such groups.
    """
    return max(MAX_READERS, max_annotations)
