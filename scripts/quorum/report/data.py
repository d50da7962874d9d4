"""Where the images came from, under which licence, how to cite them, what was done with each."""

import re

from quorum.report.quality import findings_table
from quorum.report.tabular import Column, Section, Table

FROM = {
    "phantom": "rendered here by a phantom scanner on the readers’ outlines; no image was fetched",
    "local": "your own files",
    "idc": "fetched from the public bucket of the Imaging Data Commons",
    "tcia": "fetched from The Cancer Imaging Archive (NBIA REST API)",
}
DATASET = "lidc_idri"


def citation_text(entry: dict) -> str:
    """Return what to copy into a list of references: the collection, and a paper beside it."""
    parts = [f"{entry['citation']} https://doi.org/{entry['doi']}", entry.get("paper") or ""]
    return "\n\n".join(re.sub(r"\s+", " ", part).strip() for part in parts if part)


def origin_rows(inputs) -> list:
    """Return one row a licence: series of the cohort, their patients and size in the index."""
    used = set(inputs.findings["source_series_uid"])
    series = inputs.series[inputs.series["series_uid"].isin(used)]
    rows = []
    for licence, part in series.groupby("license"):
        rows.append({
            "licence": licence,
            "num_series": len(part),
            "num_patients": int(part["patient_id"].nunique()),
            "num_files": int(part["num_instances"].sum()),
            "size_gb": float(part["num_bytes"].sum() / 1e9),
            "bucket": " ".join(sorted(set(part["bucket"]))),
        })  # fmt: skip
    return rows


def data_section(inputs) -> Section:
    """Return the section on the data's origin."""
    source = inputs.settings.get("source", {})
    entry = inputs.datasets.get(DATASET, {})
    columns = [
        Column("licence", "licence"),
        Column("num_series", "series of the cohort", 0),
        Column("num_patients", "patients", 0),
        Column("num_files", "files in the index", 0),
        Column("size_gb", "size in the index, GB", 1),
        Column("bucket", "public bucket"),
    ]
    changed = findings_table(inputs)
    values = {
        "title": entry.get("title", "LIDC-IDRI"),
        "release": entry.get("release", ""),
        "origin": FROM.get(source.get("kind"), "unknown"),
        "endpoint": source.get("endpoint") or "",
        "num_listed": len(inputs.series),
        "num_cohort": len(inputs.findings),
        "num_changed": len(changed.rows),
        "citation": citation_text(entry) if entry else "",
    }
    caption = "Series of the cohort by licence"
    tables = {"licences": Table("licences", caption, columns, origin_rows(inputs))}
    return Section("data", "Sources and licences", values, tables)
