"""Headers that stay when the pixels go: DICOM JSON, one row a used file."""

import json

import pydicom

from quorum.dicom_pixels import local_path

MAX_VALUE_BYTES = 1 << 16  # longer values are bulk data: overlays, private blobs


def header_rows(slices: list, root) -> list:
    """Return rows of the table `headers` for rows of `series_slices`; none for volumes.

    Parameters
    ----------
    slices : list of dict
        Rows of the table `series_slices`, sorted by slice.
    root : str or Path
        Folder that paths are relative to.
    """
    rows, seen = [], set()
    for row in slices:
        if row["kind"] != "dicom" or row["path"] in seen:
            continue
        seen.add(row["path"])
        rows.append(
            {
                **{key: row[key] for key in ("series_uid", "source_series_uid", "slice_index")},
                "sop_instance_uid": row["sop_instance_uid"],
                "header": header_json(local_path(root, row["path"])),
            }
        )
    return rows


def header_json(path) -> str:
    """Return a file's header as DICOM JSON (PS3.18 annex F), on one line.

    Values that break the standard, and long ones, are left out. TransferSyntaxUID, which is no
    part of a data set, is added: what reads the header back needs it.
    """
    data = pydicom.dcmread(path, stop_before_pixels=True, defer_size=MAX_VALUE_BYTES)
    for element in list(data.keys()):
        length = getattr(data.get_item(element), "length", 0) or 0
        if length > MAX_VALUE_BYTES and length != 0xFFFFFFFF:
            del data[element]
    content = data.to_json_dict(suppress_invalid_tags=True)
    content["00020010"] = {"vr": "UI", "Value": [str(data.file_meta.TransferSyntaxUID)]}
    return json.dumps(content, separators=(",", ":"), sort_keys=True)
