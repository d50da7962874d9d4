"""LIDC's XML as tables: files, sessions, annotations, outlines, points, and what was not used.

One file a series is used. Sessions are slots, not persons: session 1 of one file and session 1
of another need not be the same radiologist.
"""

import gc
from collections import defaultdict

import pandas as pd

from quorum.command import progress
from quorum.errors import InputError
from quorum.xml_archive import read_members
from quorum.xml_parser import parse_message
from quorum.xml_tables import Origin, Reading, tabulate

CORRECTION_WORDS = ("correct", "resubmi")


def read_messages(path) -> tuple[list, list]:
    """Return the messages of all XML files, by name, and the names that are no XML."""
    members = read_members(path)
    others = [name for name in members if not is_xml(name)]
    # Element trees hold no cycles: the collector walks millions of elements in vain, and doubles
    # the time.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        names = [name for name in members if is_xml(name)]
        messages = [parse_message(name, members.pop(name)) for name in progress(names, "XML")]
    finally:
        if was_enabled:
            gc.enable()
    return messages, others


def is_xml(name: str) -> bool:
    """Tell whether a member is to be read; macOS' resource forks only look like XML."""
    return name.lower().endswith(".xml") and not name.rsplit("/", 1)[-1].startswith("._")


def choose_files(messages: list, series_uids: set) -> list:
    """Return one (message, reason, detail) a file; the reason is empty for the file used.

    Source: TCIA's LIDC-IDRI page, which says that the resubmitted 161.xml replaces the first.

    Raises
    ------
    InputError
        When files of one series hold different readings and none is called a correction.
    """
    decisions, by_series = [], defaultdict(list)
    for message in messages:
        if message.reason:
            decisions.append((message, message.reason, ""))
        elif message.series_uid not in series_uids:
            decisions.append((message, "series_not_listed", message.series_uid))
        else:
            by_series[message.series_uid].append(message)
    for group in by_series.values():
        decisions += choose_among(group)
    return sorted(decisions, key=lambda decision: decision[0].name)


def choose_among(group: list) -> list:
    """Return the decisions on the files of one series."""
    corrections = [m for m in group if any(w in m.name.lower() for w in CORRECTION_WORDS)]
    # The content, not the order in an archive, says which of several equal files is used.
    pool = sorted(corrections or group, key=lambda m: (m.message_uid, m.name))
    used, decisions = pool[0], []
    for message in group:
        if message is used:
            decisions.append((message, "", ""))
        elif message.sessions == used.sessions:
            decisions.append((message, "same_as_another_file", used.name))
        elif corrections and message not in corrections:
            decisions.append((message, "replaced_by_correction", used.name))
        else:
            raise InputError(
                f"{message.name} and {used.name} hold different readings of one series, "
                f"{message.series_uid}",
                "one reading a series, or one whose name says that it is the correction",
                "remove the file that is outdated",
            )
    return decisions


def read_xml(path, series: pd.DataFrame, slices: pd.DataFrame) -> Reading:
    """Return everything that a zip, tar or folder of LIDC's XML files holds about these series.

    Parameters
    ----------
    path : str or Path
    series, slices : DataFrame
        The tables of list_series; files of other series are listed as not used.
    """
    messages, others = read_messages(path)
    decisions = choose_files(messages, set(series["series_uid"]))
    patient_of = dict(zip(series["series_uid"], series["patient_id"], strict=True))
    z_of = {uid: part["z_mm"].tolist() for uid, part in slices.groupby("series_uid", sort=False)}
    used = [message for message, reason, _ in decisions if not reason]
    used.sort(key=lambda message: (patient_of[message.series_uid], message.series_uid))
    if not used:
        raise InputError(
            f"{path} holds no reading of any of the {len(patient_of)} series",
            "LIDC-IDRI's XML, with SeriesInstanceUid of series.csv",
            "correct read_annotations.xml",
        )
    return tabulate(decisions, others, Origin(patient_of, z_of, used))
