"""What the data looked like: checks, series repaired or excluded, volumes on the grid."""

import numpy as np

from quorum.report.tabular import SHORTEST, Column, Section, Table, records

LARGE_MM = 8.0


def volume_rows(volumes) -> list:
    """Return signed bias and mean absolute difference of volumes on the grid, by size.

    The bias is the summed volume on the grid over the summed native volume; the absolute
    difference is a mean over masks, each relative to its own native volume. Nodules larger than the
    cube are left out: part of their volume lies outside.
    """
    rows, volumes = [], volumes[~volumes["is_truncated"].astype(bool)]
    subjects = {"readers": volumes["subject"].str.startswith("reader")}
    subjects["consensus"] = volumes["subject"] == "consensus"
    sizes = {
        f"over {LARGE_MM:g} mm": volumes["diameter_mm"] > LARGE_MM,
        f"up to {LARGE_MM:g} mm": volumes["diameter_mm"] <= LARGE_MM,
    }
    for subject, is_subject in subjects.items():
        for size, is_size in sizes.items():
            part = volumes[is_subject & is_size]
            native = part["volume_native_mm3"].astype(float).to_numpy()
            grid = part["volume_grid_mm3"].astype(float).to_numpy()
            usable = np.isfinite(native) & np.isfinite(grid) & (native > 0)
            native, grid = native[usable], grid[usable]
            relative = (grid - native) / native
            rows.append({
                "subject": subject,
                "size": size,
                "num_masks": len(native),
                "bias": float(100 * (grid.sum() / native.sum() - 1)) if len(native) else None,
                "mean_bias": float(100 * relative.mean()) if len(native) else None,
                "absolute": float(100 * np.abs(relative).mean()) if len(native) else None,
            })  # fmt: skip
    return rows


def findings_table(inputs) -> Table:
    """Return the series that were repaired or excluded, with the reasons."""
    rows = inputs.findings[inputs.findings["decision"] != "accepted"]
    columns = [
        Column("patient_id", "patient"),
        Column("decision", "decision"),
        Column("reason", "reason"),
        Column("num_files", "files", 0),
        Column("num_slices", "slices", 0),
        Column("num_missing", "missing", 0),
        Column("num_doubled", "doubled", 0),
        Column("slice_spacing_mm", "slice spacing, mm", 3),
        Column("series_uid", "series"),
    ]
    columns = [column for column in columns if column.key in rows]
    caption = "Series repaired or excluded"
    return Table("findings", caption, columns, records(rows[[c.key for c in columns]]))


def checks_table(checks) -> Table:
    """Return the data checks, failed ones first."""
    rows = records(checks.sort_values("is_passed", kind="stable"))
    for row in rows:
        row["result"] = "passed" if row["is_passed"] else "FAILED"
    columns = [
        Column("check", "check"),
        Column("scope", "scope"),
        Column("result", "result"),
        Column("value", "value", SHORTEST),
        Column("limit", "limit", SHORTEST),
        Column("detail", "detail"),
    ]
    return Table("checks", "Data checks", columns, rows)


def dropped_table(dropped) -> Table:
    """Return the selected nodules that became no cube, with the reasons."""
    columns = [
        Column("nodule_id", "nodule"),
        Column("patient_id", "patient"),
        Column("reason", "reason"),
        Column("detail", "detail"),
        Column("series_uid", "series"),
    ]
    return Table("dropped", "Selected nodules without a cube", columns, records(dropped))


def volumes_table(volumes) -> Table:
    """Return how well volumes are kept on the cube's grid."""
    columns = [
        Column("subject", "masks of"),
        Column("size", "diameter"),
        Column("num_masks", "masks", 0),
        Column("bias", "bias of the sum, %", 2),
        Column("mean_bias", "mean bias, %", 2),
        Column("absolute", "mean absolute, %", 2),
    ]
    caption = "Volumes on the grid against native ones"
    return Table("volumes", caption, columns, volume_rows(volumes))


def quality_section(inputs) -> Section:
    """Return the section on the data's quality."""
    tables = {
        "checks": checks_table(inputs.checks),
        "findings": findings_table(inputs),
        "dropped": dropped_table(inputs.dropped),
        "volumes": volumes_table(inputs.volumes),
    }
    decisions = inputs.findings["decision"].value_counts()
    values = {
        "num_checks": len(inputs.checks),
        "num_failed": int((~inputs.checks["is_passed"].astype(bool)).sum()),
        "decisions": {key: int(value) for key, value in decisions.items()},
        "num_series": len(inputs.findings),
        "num_dropped": len(inputs.dropped),
        "num_truncated": int(np.sum(inputs.cubes.is_truncated)),
        "rules": {
            key: str(inputs.cubes.attributes.get(key, ""))
            for key in ("mask_rule", "image_kernel", "coverage_rule", "staple_rule", "tie_rule")
        },
    }
    files = {"tables/findings-all.csv": inputs.findings.to_csv(index=False, lineterminator="\n")}
    return Section("quality", "Checks and exclusions", values, tables, {}, files)
