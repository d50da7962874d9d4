"""Flags of every download, and a bucket's listing that is begun before anything is imported."""

import csv
from pathlib import Path
from types import SimpleNamespace

from quorum.errors import InputError
from quorum.transfer_s3 import Bucket, Listing, series_prefix, start_listing


def add_flags(parser):
    """Add the flags that every download has."""
    parser.add_argument("--shards", type=Path, help="plan_shards/shards.csv, for the peak on disk")
    parser.add_argument("--concurrent-shards", type=int, default=1, help="on the disk at once")
    parser.add_argument("--disk-budget-gb", type=budget_gb, help="a number, or `none`")
    parser.add_argument("--source", choices=["idc", "tcia"], required=True)
    parser.add_argument("--endpoint", type=endpoint_url, default="", help="URL, or public")
    parser.add_argument("--partial", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=16, help="files at the same time")
    parser.add_argument("--attempts", type=int, default=6, help="in a row that bring no file")
    parser.add_argument("--stall-s", type=float, default=60.0, help="longest time without a byte")
    parser.add_argument("--out-folder", type=Path, required=True)
    parser.add_argument("--out-files", type=Path, required=True)
    parser.add_argument("--out-manifest", type=Path, required=True)


def endpoint_url(text: str) -> str:
    """Return an endpoint's URL, empty for the public one."""
    return "" if text == "public" else text


def budget_gb(text: str) -> float | None:
    """Return a budget in GB, None for none."""
    return None if text == "none" else float(text)


def begin_listing(args) -> Listing | None:
    """Have the bucket list a plan's series, while pandas and pydicom are imported (0.6 s).

    Whatever is not as it should be in the tables is told later, by what reads them with their
    schemas: None then, as for a source that has no bucket.
    """
    if args.source != "idc":
        return None
    try:
        uids = {row["series_uid"] for row in read_rows(args.plan)}
        rows = [row for row in read_rows(args.series) if row["series_uid"] in uids]
        prefixes = [series_prefix(SimpleNamespace(**row)) for row in rows]
    except (OSError, LookupError, AttributeError, ValueError, TypeError, csv.Error, InputError):
        return None
    bucket = Bucket(args.endpoint, args.workers, args.stall_s)
    return start_listing(bucket, prefixes) if prefixes else None


def read_rows(path: Path) -> list:
    """Return a CSV table's rows as they stand there."""
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
