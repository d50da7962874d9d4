"""The volumes of one series, from their files to a finding and rows for extract_cubes."""

import numpy as np
import pandas as pd

from quorum.bad_files import BadFile
from quorum.dicom_pixels import local_path
from quorum.nodule_cover import uncovered_by_volume
from quorum.series_faults import volume_z, why_volume_misplaced
from quorum.series_geometry import off_axis_deg
from quorum.volume_files import VolumeHeader, check_whole, read_volume_header


def check_volumes(files: pd.DataFrame, nodules: pd.DataFrame, root, series, series_z_mm):
    """Check one series that is there as volumes, cut out or whole.

    Parameters
    ----------
    files : DataFrame
        Rows of the table `files` of one series, kind `volume`.
    nodules : DataFrame
        The plan's nodules of that series.
    root : str or Path
        Folder that paths are relative to.
    series : row of the table `series`
    series_z_mm : float (n,)
        z of every slice of the whole series, rising.

    Returns
    -------
    finding : dict
    slices : list of dict
        As series_checks.check_dicom.
    """
    sound, faults = sort_volumes(files, root, series, series_z_mm)
    missed = set(nodules.nodule_id)
    for entry, header in sound:
        spacing_mm = header.spacing_zyx_mm[0]
        missed &= set(uncovered_by_volume(nodules, entry, volume_z(header), spacing_mm))
    finding = {"uncovered_nodules": sorted(missed)}
    if not sound:
        return {**finding, "decision": "excluded", "reason": "; ".join(faults)[:1000]}, []
    notes = []
    if faults:
        notes.append(f"{len(faults)} of {len(files)} volumes left out: {'; '.join(faults)[:800]}")
    if missed:
        notes.append(f"{len(missed)} of {len(nodules)} nodules lie in no volume")
    decision = "repaired" if notes else "accepted"
    if len(missed) == len(nodules):
        decision = "excluded"
    finding |= volume_facts(sound) | {"decision": decision, "reason": "; ".join(notes) or None}
    rows = [] if decision == "excluded" else [volume_row(*pair) for pair in sound]
    return finding, rows


def sort_volumes(files: pd.DataFrame, root, series, series_z_mm):
    """Return the sound volumes as (row of files, VolumeHeader), and why the others are not."""
    sound, faults = [], []
    for entry in files.itertuples(index=False):
        path = local_path(root, entry.path)
        try:
            header = read_volume_header(path)
            fault = why_volume_misplaced(entry, header, series, series_z_mm)
            if fault is None:
                check_whole(path, header)
        except BadFile as error:
            fault = str(error)
        if fault:
            faults.append(f"{entry.path}: {fault}")
        else:
            sound.append((entry, header))
    return sound, faults


def volume_facts(sound: list) -> dict:
    """Return the columns of a finding that the volumes' headers tell."""
    _, first = sound[0]
    z_mm = np.concatenate([volume_z(header) for _, header in sound])
    is_whole = len(sound) == 1 and not sound[0][0].is_cut_out
    return {
        "num_slices": sum(header.shape_zyx[0] for _, header in sound),
        "min_z_mm": z_mm.min(),
        "max_z_mm": z_mm.max(),
        "slice_spacing_mm": first.spacing_zyx_mm[0],
        "pixel_spacing_mm": first.spacing_zyx_mm[1],
        "column_spacing_mm": first.spacing_zyx_mm[2],
        "num_rows": first.shape_zyx[1] if is_whole else None,
        "num_columns": first.shape_zyx[2] if is_whole else None,
        "orientation": list(first.orientation),
        "off_axis_deg": off_axis_deg(first.orientation),
    }


def volume_row(entry, header: VolumeHeader) -> dict:
    """Return a volume's row of the table `series_slices`."""
    return {
        "series_uid": entry.series_uid,
        "source_series_uid": entry.source_series_uid,
        "kind": "volume",
        "path": entry.path,
        "frame_index": None,
        "sop_instance_uid": None,
        "slice_index": entry.slice0,
        "row0": entry.row0,
        "column0": entry.column0,
        "position_lps_mm": list(header.origin_lps_mm),
        "orientation": list(header.orientation),
        "slice_direction": list(header.slice_direction),
        "row_spacing_mm": header.spacing_zyx_mm[1],
        "column_spacing_mm": header.spacing_zyx_mm[2],
        "slice_spacing_mm": header.spacing_zyx_mm[0],
        "slice_lower_mm": header.spacing_zyx_mm[0] / 2,
        "slice_upper_mm": header.spacing_zyx_mm[0] / 2,
        "num_rows": header.shape_zyx[1],
        "num_columns": header.shape_zyx[2],
        "num_slices": header.shape_zyx[0],
        "slope": 1.0,
        "intercept": 0.0,
        "padding_value": None,
        "padding_limit": None,
        "is_cut_out": entry.is_cut_out,
        "data_kind": entry.data_kind,
        "latent": None,
    }
