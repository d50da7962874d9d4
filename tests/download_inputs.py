"""Tiny series on a loopback server under the index's keys, and the tables that name them."""

import hashlib
from pathlib import Path

from image_tables import fill_rows, nodule_row
from s3_server import PUBLIC_BUCKET, put_series

from quorum.tables import read_table, write_table

SHARD = "shard00"


class Stand:
    """Series that stand on a server, and the rows of table `series` that name them.

    Parameters
    ----------
    folder : Path
        For the tables and results.
    endpoint : str
        URL of the S3 server; empty when the objects are stored by somebody else.
    """

    def __init__(self, folder: Path, endpoint: str = ""):
        self.folder, self.endpoint, self.rows = Path(folder), endpoint, []

    def add(self, uid: str, source: Path, **changes) -> dict:
        """Store a folder's files as one series and note its row."""
        key = hashlib.md5(uid.encode(), usedforsecurity=False).hexdigest()
        files = sorted(source.glob("*.dcm"))
        row = {
            "series_uid": uid,
            "patient_id": f"P{len(self.rows)}",
            "num_instances": len(files),
            "num_slices": len(files),
            "num_bytes": sum(path.stat().st_size for path in files),
            "license": "CC BY 3.0",
            "bucket": PUBLIC_BUCKET,
            "crdc_series_uuid": key,
            "url": f"s3://{PUBLIC_BUCKET}/{key}/*",
            **changes,
        }
        self.rows.append(row)
        if self.endpoint:
            put_series(self.endpoint, source, key)
        return row


def write_inputs(stand: Stand, **changes) -> list:
    """Write the plan and the series table of a stand; return download_series' flags.

    `changes` are further flags by their name, such as `stall_s=2`; None removes one.
    """
    folder = stand.folder
    folder.mkdir(parents=True, exist_ok=True)
    plan = [nodule_row(f"n{k}", 0.0, 2.0, row["series_uid"]) for k, row in enumerate(stand.rows)]
    write_table(fill_rows("nodules", plan), folder / "plan.csv", "nodules", {})
    write_table(fill_rows("series", stand.rows), folder / "series.csv", "series", {})
    flags = {
        "plan": folder / "plan.csv",
        "series": folder / "series.csv",
        "source": "idc",
        "endpoint": stand.endpoint,
        "partial": folder / "results" / ".partial",
        "out_folder": folder / "results" / SHARD,
        "out_files": folder / "results" / f"{SHARD}.csv",
        "out_manifest": folder / "results" / f"{SHARD}.manifest.csv",
        **changes,
    }
    given = {f"--{name.replace('_', '-')}": value for name, value in flags.items()}
    return [str(part) for pair in given.items() if pair[1] is not None for part in pair]


def content(stand: Stand) -> dict:
    """Return what a run ended with: each file's SHA-256 by series and name, from the disk.

    Raises
    ------
    AssertionError
        When the manifest says something else than the disk.
    """
    folder = stand.folder / "results"
    found = {
        (path.parent.name, path.name): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / SHARD).rglob("*.dcm"))
    }
    manifest = read_table(folder / f"{SHARD}.manifest.csv", "manifest")
    listed = {(row.series_uid, row.name): row.sha256 for row in manifest.itertuples(index=False)}
    assert listed == found
    return found


def strays(stand: Stand) -> list:
    """Return what lies below the results folder and is neither output nor manifest."""
    left = [
        str(path.relative_to(stand.folder / "results"))
        for path in sorted((stand.folder / "results").rglob("*"))
        if path.is_file() and path.suffix != ".dcm"
    ]
    known = {f"{SHARD}.csv", f"{SHARD}.manifest.csv"}
    known |= {f"{name}-metadata.json" for name in known}
    return [name for name in left if name not in known and Path(name).name != "manifest.json"]
