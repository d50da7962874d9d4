"""Fetch one part of a registered public collection, and keep only what is complete.

Reads
    --datasets       config/datasets.yaml, which says in how many parts a collection is fetched.
    --series         CSV, schema dataset_series: where each series lies, its files and bytes.

Writes
    --out-folder     <series_uid>/<file>.dcm, every series whole.
    --out-files      CSV, schema files: one row a file.
    --out-manifest   CSV, schema manifest: SOPInstanceUID, z, size and SHA-256 of every file.

Method
    As download_series, for all series of the part: a series' part is the SHA-256 of its UID modulo
    their number.
"""

from pathlib import Path

from quorum.command import make_parser, provenance, run_command
from quorum.datasets import dataset_entry, read_register
from quorum.download_flags import add_flags
from quorum.errors import InputError
from quorum.shard_download import download_shard
from quorum.sharding import shard_name, shard_of
from quorum.tables import read_table


def main(argv=None):
    """Fetch one part."""
    parser = make_parser(__doc__)
    parser.add_argument("--datasets", required=True)
    parser.add_argument("--dataset", required=True, help="its name in the register")
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--shard", required=True, help="such as shard00")
    add_flags(parser)
    args = parser.parse_args(argv)
    num_shards = dataset_entry(read_register(args.datasets), args.dataset)["num_shards"]
    if args.shard not in [shard_name(number) for number in range(num_shards)]:
        raise InputError(
            f"{args.dataset} has no {args.shard}",
            f"shard00 to {shard_name(num_shards - 1)}",
            "correct the name, or num_shards in config/datasets.yaml",
        )
    series = read_table(args.series, "dataset_series").sort_values("series_uid")
    part = series["series_uid"].map(lambda uid: shard_name(shard_of(uid, num_shards)))
    download_shard(series[part == args.shard], args, provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
