"""The collection's table of diagnoses by patient: an .xls of 157 patients.

Source: tcia-diagnosis-data-2012-04-20.xls, TCIA, doi 10.7937/k9/tcia.2015.lo9ql9sx.
"""

import io

import pandas as pd
import xlrd

from quorum.errors import InputError
from quorum.tables import column_names

DIAGNOSES = {0: "unknown", 1: "benign", 2: "malignant, primary", 3: "malignant, metastatic"}
METHODS = {
    0: "unknown",
    1: "two years of stable images",
    2: "biopsy",
    3: "surgical resection",
    4: "progression or response",
}


def read_diagnoses(path) -> pd.DataFrame:
    """Return one row a patient: diagnosis and method in words, primary site, nodules diagnosed.

    Raises
    ------
    InputError
        When the file is missing or no .xls, its first columns are others, a code is unknown, or
        a patient stands in it twice.
    """
    try:
        sheet = xlrd.open_workbook(path, logfile=io.StringIO()).sheet_by_index(0)
    except (OSError, xlrd.XLRDError, ValueError, IndexError) as error:
        raise bad_table(path, f"can't be read as .xls ({error})") from error
    head = [str(value).lower() for value in sheet.row_values(0)] if sheet.nrows else []
    if len(head) < 4 or "patient id" not in head[0] or "diagnosis" not in head[1]:
        raise bad_table(path, "has other columns")
    rows = []
    for number in range(1, sheet.nrows):
        cells = sheet.row_values(number)
        patient_id = str(cells[0]).strip()
        if not patient_id:
            continue
        diagnosis, method = code_of(path, cells[1], DIAGNOSES), code_of(path, cells[2], METHODS)
        num_nodules = sum(str(value).strip() != "" for value in cells[4::2])
        site = str(cells[3]).strip() or None
        rows.append((patient_id, diagnosis, method, site, num_nodules))
    frame = pd.DataFrame(rows, columns=column_names("diagnoses"))
    if frame["patient_id"].duplicated().any():
        raise bad_table(path, "names a patient twice")
    return frame.sort_values("patient_id", ignore_index=True)


def code_of(path, cell, words: dict) -> str:
    """Return the words of a code."""
    try:
        return words[int(float(cell))]
    except (KeyError, ValueError, TypeError) as error:
        raise bad_table(path, f"holds the unknown code {cell!r}") from error


def bad_table(path, what: str) -> InputError:
    """Return the error for a table that isn't the collection's."""
    return InputError(
        f"the table of diagnoses {path} {what}",
        "tcia-diagnosis-data-2012-04-20.xls of the collection",
        "correct label_malignancy.diagnosis, or leave it empty",
    )
