"""A series of anyone's, annotated or not, as a scan: DICOM files in a folder, or one volume."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd

from quorum.bad_files import BadFile
from quorum.dicom_files import is_phantom, read_identity
from quorum.errors import InputError
from quorum.local_layouts import file_row, walk_files
from quorum.scans import Scan, scans_of
from quorum.series_checks import check_dicom
from quorum.volume_checks import volume_row
from quorum.volume_files import SUFFIXES, check_whole, read_volume_header

# As config/config.yaml has them for the project's own series.
LIMITS = {"max_spacing_deviation": 0.02, "max_tilt_deg": 0.5, "num_expected": None}
NO_NODULES = pd.DataFrame(
    columns=["nodule_id", "center_z_mm", "min_z_mm", "max_z_mm", "min_row", "max_row",
             "min_column", "max_column"],
    dtype=float,
)  # fmt: skip


def open_series(path, series_uid: str = "") -> tuple[Scan, dict]:
    """Return a series as a scan, checked as the project's own are, and what was found in it.

    Parameters
    ----------
    path : str or Path
        A folder with the series' DICOM files in any layout, or a volume (.mhd, .nii, .nii.gz,
        .nrrd) in HU.
    series_uid : str, optional
        Which series, where the folder holds several.

    Returns
    -------
    Scan, dict
        The dict: series_uid, data_kind (scan or phantom), decision, reason.

    Raises
    ------
    InputError
        When there is no CT series, several, or one that can't be used.
    """
    path = Path(path).resolve()
    if path.is_file() and path.name.endswith(SUFFIXES):
        return open_volume(path)
    if not path.is_dir():
        raise InputError(
            f"{path} is no folder and no volume",
            f"a folder with DICOM files, or a file ending in {', '.join(SUFFIXES)}",
            "correct the path",
        )
    files = choose_series(list_slices(path), series_uid, path)
    finding, rows = check_dicom(files, NO_NODULES, path, LIMITS)
    if finding["decision"] == "excluded":
        raise InputError(
            f"the series {files.series_uid.iloc[0]} in {path} can't be used: {finding['reason']}",
            "an axial CT series with even slices",
            "get the series again, or leave out what does not belong to it",
        )
    about = {key: finding.get(key) for key in ("decision", "reason")}
    about |= {"series_uid": files.series_uid.iloc[0], "data_kind": files.data_kind.iloc[0]}
    return scans_of(pd.DataFrame(rows), str(path))[0], about


def open_volume(path: Path) -> tuple[Scan, dict]:
    """Return a volume as a scan, and what is known of it; see `open_series`."""
    try:
        header = read_volume_header(path)
        check_whole(path, header)
    except BadFile as error:
        raise InputError(
            f"{path} can't be used ({error})", "a whole volume in HU", "get or make that file again"
        ) from error
    entry = SimpleNamespace(
        series_uid=path.name, source_series_uid=path.name, path=path.name, slice0=0, row0=0,
        column0=0, is_cut_out=False, data_kind="scan",
    )  # fmt: skip
    rows = pd.DataFrame([volume_row(entry, header)])
    about = {"series_uid": path.name, "data_kind": "scan", "decision": "accepted", "reason": None}
    return scans_of(rows, str(path.parent))[0], about


def list_slices(root: Path) -> pd.DataFrame:
    """Return the CT slices under a folder as rows of the table `files`; other files are passed."""
    rows, seen = [], set()
    for name in walk_files(root)[0]:
        try:
            header = read_identity(root / name)
        except BadFile:
            continue
        instance = str(header.get("SOPInstanceUID"))
        if header.get("Modality") == "CT" and instance not in seen:
            seen.add(instance)
            kind = "phantom" if is_phantom(header) else "scan"
            uid = str(header.get("SeriesInstanceUID"))
            rows.append(file_row(root, name, uid, sop_instance_uid=instance, data_kind=kind))
    return pd.DataFrame(rows)


def choose_series(files: pd.DataFrame, series_uid: str, path: Path) -> pd.DataFrame:
    """Return the rows of the one series, or of the named one."""
    if files.empty:
        raise InputError(
            f"{path} holds no CT slice", "a folder with a CT series' DICOM files", "correct --image"
        )
    found = sorted(files.series_uid.unique())
    if series_uid and series_uid not in found:
        raise InputError(
            f"{path} holds no series {series_uid}", f"one of {', '.join(found)}",
            "correct --series-uid",
        )  # fmt: skip
    if not series_uid and len(found) > 1:
        raise InputError(
            f"{path} holds {len(found)} series", f"one, or its name: {', '.join(found)}",
            "add --series-uid",
        )  # fmt: skip
    return files[files.series_uid == (series_uid or found[0])].reset_index(drop=True)
