"""The user's own files under one root: which there are, and what each of them is.

Any layout of folders will do for DICOM, because every file says itself whose it is: the NBIA Data
Retriever's tree, idc-index's, a flat folder. A volume cannot: its series comes from its name
(LUNA16: `<SeriesInstanceUID>.mhd`) or from a list of volumes.
"""

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from quorum.bad_files import BadFile
from quorum.dicom_files import is_phantom, read_identity
from quorum.errors import InputError
from quorum.uids import is_uid
from quorum.volume_files import SUFFIXES, read_volume_header

VOXEL_SUFFIXES = (".raw", ".zraw")  # voxels beside a .mhd, which names them
LUNA16_FOLDER = re.compile(r"subset\d+")
PLACES = {"row0": "row0", "col0": "column0", "slice0": "slice0"}
SIZES = ("num_rows", "num_columns", "num_slices")
ORIGINS = ("series_origin_x_mm", "series_origin_y_mm")


@dataclass(frozen=True)
class Unused:
    """A file that is not used: its path relative to the root, a short reason, and the detail."""

    path: str
    reason: str
    detail: str = ""


def walk_files(root: Path):
    """Return the plain files under a folder, and what else lies there.

    Links are followed to files inside the root only; linked folders never, because what lies
    inside the root is found anyway.

    Returns
    -------
    names : list of str
        Paths relative to the root, sorted.
    unused : list of Unused
    """
    names, unused = [], []

    def refuse(error):
        unused.append(Unused(os.path.relpath(error.filename, root), "unreadable", error.strerror))

    for folder, folders, files in os.walk(root, onerror=refuse):
        for name in folders:
            path = Path(folder, name)
            if path.is_symlink():
                unused.append(Unused(str(path.relative_to(root)), "link", "a linked folder"))
        for name in files:
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            reason = why_not_plain(path, root)
            if reason is None:
                names.append(relative)
            else:
                unused.append(Unused(relative, *reason))
    return sorted(names), unused


def why_not_plain(path: Path, root: Path):
    """Return (reason, detail) when a path is no plain file inside the root; None when it is."""
    try:
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
            return "link", "a link that leaves source.root"
        if not stat.S_ISREG(path.stat().st_mode):
            return "no plain file", "a pipe, socket or device"
    except (OSError, RuntimeError) as error:
        return "unreadable", str(error)
    return None


def identify_file(root: Path, name: str, known: set):
    """Return one file's row of the table `files`, or an Unused.

    Parameters
    ----------
    root : Path
        `source.root`.
    name : str
        The file's path relative to it.
    known : set of str
        SeriesInstanceUIDs that readers marked.
    """
    try:
        if name.endswith(SUFFIXES):
            return identify_volume(root, name, known)
        header = read_identity(root / name)
    except BadFile as error:
        return Unused(name, error.reason, error.detail)
    series_uid, instance_uid = str(header.get("SeriesInstanceUID")), str(header.SOPInstanceUID)
    if is_phantom(header):
        return Unused(name, "phantom", "a phantom's slice is never taken as patient data")
    if header.get("Modality") != "CT":
        return Unused(name, "other modality", str(header.get("Modality", "none")))
    if series_uid not in known:
        return Unused(name, "other series", series_uid)
    if not is_uid(instance_uid):
        return Unused(name, "unreadable", f"its SOPInstanceUID is {instance_uid!r}")
    return file_row(root, name, series_uid, sop_instance_uid=instance_uid)


def identify_volume(root: Path, name: str, known: set):
    """Return the row of a volume that is named after its series, as LUNA16's are, or an Unused."""
    stem = next(Path(name).name.removesuffix(end) for end in SUFFIXES if name.endswith(end))
    if stem not in known:
        return Unused(name, "other series", "a volume not named after a series of the list")
    size = dict(zip(SIZES, volume_size(root / name), strict=True))
    return file_row(root, name, stem, row0=0, column0=0, slice0=0, **size)


def volume_size(path: Path) -> tuple:
    """Return rows, columns, slices of a volume file; raises BadFile."""
    slices, rows, columns = read_volume_header(path).shape_zyx
    return rows, columns, slices


def file_row(root: Path, name: str, series_uid: str, **values) -> dict:
    """Return a row of the table `files`; a DICOM slice where `sop_instance_uid` is given."""
    nothing = dict.fromkeys(("sop_instance_uid", *PLACES.values(), *SIZES, *ORIGINS))
    return {
        **nothing,
        "series_uid": series_uid,
        "source_series_uid": series_uid,
        "path": name,
        "kind": "dicom" if "sop_instance_uid" in values else "volume",
        "num_bytes": (root / name).stat().st_size,
        "is_cut_out": False,
        "data_kind": "scan",
        **values,
    }


def choose_files(rows: list):
    """Return the rows to use and the rest as Unused: one file an instance, one form a series."""
    used, unused, first = [], [], {}
    as_dicom = {row["series_uid"] for row in rows if row["kind"] == "dicom"}
    volumes = {}
    for row in rows:
        if row["kind"] == "volume":
            volumes.setdefault(row["series_uid"], []).append(row)
        elif row["sop_instance_uid"] in first:
            other = first[row["sop_instance_uid"]]
            unused.append(Unused(row["path"], "same instance twice", f"as in {other}"))
        else:
            first[row["sop_instance_uid"]] = row["path"]
            used.append(row)
    for series_uid, group in volumes.items():
        if series_uid in as_dicom:
            unused += [Unused(row["path"], "series is there as DICOM") for row in group]
            continue
        # LUNA16 ships lung masks under the same names in another folder.
        luna16 = [row for row in group if LUNA16_FOLDER.fullmatch(Path(row["path"]).parent.name)]
        chosen = group if len(group) == 1 else luna16 if len(luna16) == 1 else []
        used += chosen
        paths = ", ".join(row["path"] for row in group)
        unused += [
            Unused(row["path"], "several volumes for one series", paths)
            for row in group
            if row not in chosen
        ]
    return used, unused


def read_volume_list(path: Path) -> pd.DataFrame:
    """Read a list of volumes: columns file and series_uid; of cut-outs their place too.

    Raises
    ------
    InputError
        When it can't be read, lacks a column, or a row has no whole number where one belongs.
    """
    try:
        table = pd.read_csv(path, dtype="string")
    except (OSError, ValueError) as error:
        raise InputError(
            f"the list of volumes {path} can't be read ({str(error).splitlines()[0]})",
            "a CSV table with the columns file and series_uid",
            "correct source.volumes, which is relative to source.root",
        ) from error
    missing = [name for name in ("file", "series_uid") if name not in table]
    if missing:
        raise InputError(
            f"the list of volumes {path} lacks the columns {', '.join(missing)}",
            "the columns file and series_uid",
            "add them: a volume's path, and the SeriesInstanceUID it was made from",
        )
    for name in (*PLACES, *SIZES, *ORIGINS, "patient_id"):
        if name not in table:
            table[name] = pd.NA
    for name in (*PLACES, *SIZES, *ORIGINS):
        numbers = pd.to_numeric(table[name], errors="coerce")
        is_whole = name in ORIGINS or numbers.dropna().mod(1).eq(0).all()
        bad = table.index[numbers.isna() & table[name].notna()]
        if len(bad) or not is_whole:
            line = bad[0] + 2 if len(bad) else numbers.index[numbers.mod(1) > 0][0] + 2
            raise InputError(
                f"line {line} of {path} has {table[name][line - 2]!r} as {name}",
                "a number" if name in ORIGINS else "a whole number",
                "correct that row",
            )
        table[name] = numbers.astype("Float64" if name in ORIGINS else "Int64")
    return table
