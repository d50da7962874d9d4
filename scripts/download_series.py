"""Fetch one shard's series from their public place, and keep only what is complete.

Reads
    plan             CSV, schema nodules: the shard's nodules; their series are fetched.
    series           CSV, schema series: where each series lies, how many files and bytes it has.

Writes
    out-folder       <series_uid>/<file>.dcm, every series whole.
    out-files        CSV, schema files: one row a file.
    out-manifest     CSV, schema manifest: SOPInstanceUID, z, size and SHA-256 of every file.

Method
    A series arrives in <partial>/<series_uid>/, which no rule declares, so that a killed job goes
    on where it was. It is complete when files and bytes equal the index, every file parses with
    the right SeriesInstanceUID and the bucket's MD5, and SOPInstanceUIDs are distinct; then it
    moves to <partial>/<shard>/. What is missing or wrong is fetched again, with growing pauses.
    One rename makes the whole shard appear.

Source
    Imaging Data Commons, https://portal.imaging.datacommons.cancer.gov (public S3 buckets).
"""

from pathlib import Path

from quorum.command import make_parser, provenance, run_command
from quorum.download_flags import add_flags, begin_listing
from quorum.errors import InputError


def wanted_series(plan, series, origin):
    """Return the rows (DataFrame) of the table `series` of a plan's nodules, sorted by UID.

    Raises
    ------
    InputError
        When the index lacks one of them.
    """
    uids = sorted(set(plan["series_uid"]))
    wanted = series[series["series_uid"].isin(uids)].sort_values("series_uid")
    unknown = sorted(set(uids) - set(wanted["series_uid"]))
    if unknown:
        raise InputError(
            f"{len(unknown)} series of {origin} are not in the index, the first {unknown[0]}",
            "series that list_series found in the public index",
            "make both tables again with one release of the index",
        )
    return wanted


def main(argv=None):
    """Fetch one shard."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--series", type=Path, required=True)
    add_flags(parser)
    args = parser.parse_args(argv)
    listing = begin_listing(args)
    # Here, so that the bucket lists while pandas and pydicom are imported.
    from quorum.shard_download import download_shard
    from quorum.tables import read_table

    plan, series = read_table(args.plan, "nodules"), read_table(args.series, "series")
    wanted, made_by = wanted_series(plan, series, args.plan), provenance(__file__, args)
    download_shard(wanted, args, made_by, listing)


if __name__ == "__main__":
    run_command(main)
