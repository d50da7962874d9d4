"""What the headers say of a patient and a series: sex, age, contrast; one header a series."""

import json

import pandas as pd
import pyarrow.parquet as pq

UNKNOWN = "not known"
SEX = {"F": "female", "M": "male", "O": "other"}
YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def value_of(header: dict, tag: str):
    """Return the first value of an element of a DICOM JSON header, None where there is none."""
    values = header.get(tag, {}).get("Value") or [None]
    return values[0]


def age_years(text) -> float | None:
    """Return an age string (such as 067Y or 010M) in years; None when it is none."""
    text = str(text or "")
    if not (text[:-1].isdigit() and text[-1:] in YEARS) or int(text[:-1]) == 0:
        return None
    return int(text[:-1]) * YEARS[text[-1]]


def header_facts(text: str) -> dict:
    """Return sex, age and contrast of one header.

    Source: DICOM PS3.6: PatientSex (0010,0040), PatientAge (0010,1010), ContrastBolusAgent
    (0018,0010). A header without an agent says nothing: LIDC-IDRI's anonymised headers mostly
    lack it where none was given, and some lack it where it was.
    """
    header = json.loads(text)
    agent = str(value_of(header, "00180010") or "").strip()
    return {
        "sex": SEX.get(str(value_of(header, "00100040") or "").strip().upper(), UNKNOWN),
        "age_years": age_years(value_of(header, "00101010")),
        "contrast": "named in the header" if agent else "none named",
    }


def read_facts(paths) -> pd.DataFrame:
    """Return the facts of every series that has headers, by source_series_uid.

    Parameters
    ----------
    paths : list of str
        Tables `headers`, one a shard. Of each series only one header is parsed.
    """
    rows = []
    for path in paths:
        table = pq.read_table(path, columns=["source_series_uid", "header"])
        seen = set()
        for place, uid in enumerate(table["source_series_uid"].to_pylist()):
            if uid not in seen:
                seen.add(uid)
                rows.append(
                    {"source_series_uid": uid, **header_facts(table["header"][place].as_py())}
                )
    columns = ["source_series_uid", "sex", "age_years", "contrast"]
    return pd.DataFrame(rows, columns=columns).drop_duplicates("source_series_uid")
