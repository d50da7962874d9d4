"""List the series of a registered public collection, with size, licence and place in the bucket.

Reads
    --datasets     config/datasets.yaml, the register.
    --index        idc-index-data's idc_index.parquet; by default the installed package's.
Writes
    --out-series   <dataset>.csv, one row a series (schema: dataset_series).
Method
    Collection and modality come from the register's entry: another collection is one entry.
Source
    Fedorov et al. 2023, doi 10.1148/rg.230180 (Imaging Data Commons).
"""

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.datasets import collection_series, dataset_entry, read_register
from quorum.idc_index import index_path
from quorum.tables import write_table


def main(argv=None):
    """Read the register and the index, write the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--datasets", required=True)
    parser.add_argument("--dataset", required=True, help="its name in the register")
    parser.add_argument("--index", nargs="?", const="", help="another release's Parquet file")
    parser.add_argument("--out-series", required=True)
    args = parser.parse_args(argv)
    args.index = args.index or str(index_path())
    entry = dataset_entry(read_register(args.datasets), args.dataset)
    series = collection_series(args.index, entry["collection"], entry["modality"])
    series["dataset"] = args.dataset
    LOG.info("%s: %.1f GB under %s", entry["title"], series["num_bytes"].sum() / 1e9,
             ", ".join(sorted(set(series["license"]))))  # fmt: skip
    log_counts("series", came_in=len(series), dropped={}, went_out=len(series))
    write_table(series, args.out_series, "dataset_series", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
