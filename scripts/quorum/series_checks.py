"""One series, from its files to a finding and the rows that extract_cubes reads."""

from pathlib import Path

import numpy as np
import pandas as pd
from pydicom.uid import UID

from quorum.bad_files import BadFile
from quorum.dicom_files import read_headers
from quorum.dicom_pixels import local_path, read_slices_hu
from quorum.errors import InputError
from quorum.nodule_cover import REACH_MM, gaps_in_reach, uncovered_in_z
from quorum.series_faults import why_not_even, why_unusable
from quorum.series_geometry import (
    Stack,
    covered_z,
    make_stack,
    most_common,
    off_axis_deg,
)

LATENT_NAME = "latent.h5"  # beside a phantom's slices


def check_dicom(files: pd.DataFrame, nodules: pd.DataFrame, root, limits: dict):
    """Check one series that is there as DICOM files.

    Parameters
    ----------
    files : DataFrame
        Rows of the table `files` of one series, kind `dicom`.
    nodules : DataFrame
        The plan's nodules of that series.
    root : str or Path
    limits : dict
        max_spacing_deviation, max_tilt_deg, num_expected.

    Returns
    -------
    finding : dict
        By columns of the table `findings`.
    slices : list of dict
        Rows of the table `series_slices`; none when excluded.
    """
    series_uid, data_kind = files.series_uid.iloc[0], files.data_kind.iloc[0]
    finding = {"num_expected": limits["num_expected"] if data_kind == "scan" else None}
    headers, fault = read_all_headers(files.path, root)
    if fault:
        return excluded(finding, fault), []
    finding |= header_facts(headers)
    if fault := why_unusable(headers, series_uid, data_kind):
        return excluded(finding, fault), []
    try:
        stack = make_stack(headers, pixel_comparer(root), limits["max_spacing_deviation"])
    except (ValueError, InputError) as error:
        return excluded(finding, f"doubled or single slices: {error}"), []
    finding |= stack_facts(stack)
    fault = why_not_even(stack, limits["max_tilt_deg"]) or why_not_readable(stack, nodules, root)
    if fault:
        return excluded(finding, fault), []
    finding |= judge_stack(stack, nodules, finding)
    if finding["decision"] == "excluded":
        return finding, []
    return finding, slice_rows(stack, files.iloc[0], root)


def read_all_headers(names, root):
    """Return the SliceHeader of every slice in the named files, and why one can't be read."""
    headers = []
    for name in names:
        try:
            headers += read_headers(local_path(root, name), name)
        except BadFile as error:
            return headers, f"{error.reason}: {name} ({error.detail}); get that file again"
    return headers, None


def excluded(finding: dict, reason: str) -> dict:
    """Return a finding with the decision to leave the series out."""
    return {**finding, "decision": "excluded", "reason": reason}


def pixel_comparer(root):
    """Return a function that tells whether two slices show the same HU."""

    def same_pixels(one, other) -> bool:
        if (one.num_rows, one.num_columns) != (other.num_rows, other.num_columns):
            return False
        hu, _ = read_slices_hu(
            pd.DataFrame([vars(one), vars(other)]),
            row_range=(0, one.num_rows),
            column_range=(0, one.num_columns),
            root=root,
        )
        return bool(np.array_equal(hu[0], hu[1]))

    return same_pixels


def header_facts(headers: list) -> dict:
    """Return the columns of a finding that the headers alone tell."""
    first = headers[0]
    common = {
        key: most_common(getattr(header, key) for header in headers)
        for key in ("slope", "intercept", "padding_value", "transfer_syntax", "slice_thickness_mm")
    }
    has_geometry = bool(np.all(np.isfinite(first.orientation))) and any(first.orientation)
    return {
        "orientation": list(first.orientation),
        "off_axis_deg": off_axis_deg(first.orientation) if has_geometry else None,
        "pixel_spacing_mm": first.pixel_spacing_mm[0],
        "column_spacing_mm": first.pixel_spacing_mm[1],
        "num_rows": first.num_rows,
        "num_columns": first.num_columns,
        "slice_thickness_mm": common["slice_thickness_mm"],
        "rescale_slope": common["slope"],
        "rescale_intercept": common["intercept"],
        "padding_value": common["padding_value"],
        "transfer_syntax": common["transfer_syntax"],
        "manufacturer": first.manufacturer or None,
        "kernel": first.kernel or None,
    }


def stack_facts(stack: Stack) -> dict:
    """Return the columns of a finding that the order of the slices tells."""
    z_mm = slice_z(stack)
    return {
        "num_slices": len(stack.headers),
        "num_missing": stack.num_missing,
        "num_doubled": stack.num_same + stack.num_different,
        "num_doubled_different": stack.num_different,
        "num_uneven": stack.num_uneven,
        "min_z_mm": z_mm[0],
        "max_z_mm": z_mm[-1],
        "slice_spacing_mm": stack.spacing_mm,
        "max_gap_mm": float(np.diff(stack.distances_mm).max()),
        "tilt_deg": stack.tilt_deg,
    }


def slice_z(stack: Stack) -> np.ndarray:
    """Return the z of each slice's first pixel (n,), mm: what annotations call z."""
    return np.array([header.position_lps_mm[2] for header in stack.headers])


def why_not_readable(stack: Stack, nodules: pd.DataFrame, root):
    """Return which compressed slice can't be decoded, or None.

    Uncompressed files are told whole by their length; of compressed ones the slices within reach of
    a nodule are decoded once, since nothing else shows whether they are sound.
    """
    for header, z_mm in zip(stack.headers, slice_z(stack), strict=True):
        is_near = (np.abs(nodules.center_z_mm - z_mm) <= REACH_MM).any()
        if is_near and is_compressed(header.transfer_syntax):
            try:
                read_slices_hu(
                    pd.DataFrame([vars(header)]), row_range=(0, 1), column_range=(0, 1), root=root
                )
            except InputError as error:
                return f"unreadable: {error.what}; get that file again"
    return None


def is_compressed(transfer_syntax: str) -> bool:
    """Tell whether a transfer syntax holds encapsulated pixels (PS3.5 A.4)."""
    return UID(transfer_syntax).is_encapsulated


def judge_stack(stack: Stack, nodules: pd.DataFrame, finding: dict) -> dict:
    """Return decision, reason and uncovered_nodules of a stack of sound slices."""
    z_mm, notes, is_repaired = slice_z(stack), [], False
    cosine = stack.direction[2]
    covered = covered_z(z_mm, stack.lower_mm * cosine, stack.upper_mm * cosine, stack.spacing_mm)
    missed = uncovered_in_z(nodules, z_mm, covered, stack.spacing_mm)
    if stack.num_same:
        notes.append(f"{stack.num_same} slices were there twice, one of each kept")
    if stack.num_different:
        notes.append(
            f"{stack.num_different} of two different slices at one position left out: the one "
            "whose InstanceNumber fits its neighbours kept, else the lower"
        )
    if len(covered) > 1:
        is_near = bool(gaps_in_reach(nodules, covered))
        where = "within reach of a nodule, left uncovered" if is_near else "away from nodules"
        gaps = ", ".join(f"{gap:.4g}" for gap in covered[1:, 0] - covered[:-1, 1])
        notes.append(f"{len(covered) - 1} gaps without image ({gaps} mm) {where}")
        is_repaired = is_near
    if stack.num_uneven:
        notes.append(f"{stack.num_uneven} uneven steps, each slice carried at its own position")
    num_expected = finding.get("num_expected")
    if num_expected and len(stack.headers) + finding["num_doubled"] < num_expected:
        found = len(stack.headers) + finding["num_doubled"]
        notes.append(f"{found} of the {num_expected} slices in the public index are there")
    if missed:
        notes.append(f"{len(missed)} of {len(nodules)} nodules lie where there is no slice")
        is_repaired = True
    decision = "repaired" if is_repaired or finding["num_doubled"] else "accepted"
    if missed and len(missed) == len(nodules):
        decision = "excluded"
    return {
        "decision": decision,
        "reason": "; ".join(notes) or None,
        "uncovered_nodules": missed,
    }


def slice_rows(stack: Stack, entry, root) -> list:
    """Return the rows of the table `series_slices` of a stack; `entry` is a row of its files."""
    latent = Path(entry.path).with_name(LATENT_NAME)
    has_latent = entry.data_kind == "phantom" and local_path(root, str(latent)).is_file()
    rows = []
    for index, header in enumerate(stack.headers):
        rows.append(
            {
                "series_uid": entry.series_uid,
                "source_series_uid": entry.source_series_uid,
                "kind": "dicom",
                "path": header.path,
                "frame_index": header.frame_index,
                "sop_instance_uid": header.sop_instance_uid,
                "slice_index": index,
                "row0": 0,
                "column0": 0,
                "position_lps_mm": list(header.position_lps_mm),
                "orientation": list(header.orientation),
                "slice_direction": stack.direction.tolist(),
                "row_spacing_mm": header.pixel_spacing_mm[0],
                "column_spacing_mm": header.pixel_spacing_mm[1],
                "slice_spacing_mm": stack.spacing_mm,
                "slice_lower_mm": stack.lower_mm[index],
                "slice_upper_mm": stack.upper_mm[index],
                "num_rows": header.num_rows,
                "num_columns": header.num_columns,
                "num_slices": 1,
                "slope": header.slope,
                "intercept": header.intercept,
                "padding_value": header.padding_value,
                "padding_limit": header.padding_limit,
                "is_cut_out": False,
                "data_kind": entry.data_kind,
                "latent": str(latent) if has_latent else None,
            }
        )
    return rows
