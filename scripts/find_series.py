"""Index the user's own image files: which belong to a series that readers marked.

Reads
    --series   list_series/series.csv
    --root     a folder in any layout (NBIA Data Retriever's, idc-index's, LUNA16's, flat); of each
               file only the few header elements that say whose it is
    --volumes  optional, relative to the root: a CSV that names volumes. Required columns: file
               (relative to the CSV's folder, else to its `images/`) and series_uid. A cut-out has
               row0, col0, slice0 (index of its first voxel in the whole series) too, and may have
               num_rows, num_columns, num_slices, series_origin_x_mm, series_origin_y_mm,
               patient_id. With it, only the volumes it names are used.
Writes
    --out-files   table files: one row a usable file
    --out-unused  table unused_files: every other file, and why
Method
    DICOM files are known by their SeriesInstanceUID, whatever their name; without --volumes a
    volume is known by its name, `<SeriesInstanceUID>.mhd` as in LUNA16. Where a series is there as
    DICOM and as a volume, the DICOM files are used. Of two files with one SOPInstanceUID the first
    by path is used. Links that leave the root and phantoms are refused.
Source
    DICOM PS3.10 (files), PS3.3 C.7.3.1 (series); LUNA16, https://luna16.grand-challenge.org.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from quorum.bad_files import BadFile
from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.local_layouts import (
    ORIGINS,
    PLACES,
    SIZES,
    VOXEL_SUFFIXES,
    Unused,
    choose_files,
    file_row,
    identify_file,
    read_volume_list,
    volume_size,
    walk_files,
)
from quorum.tables import load_schema, read_table, write_table
from quorum.uids import checked_uid
from quorum.volume_files import SUFFIXES


def index_folder(root: Path, known: set, threads: int):
    """Return the usable rows and the Unused of everything under a root; DICOM and LUNA16."""
    names, unused = walk_files(root)
    volumes = {name.removesuffix(".mhd") for name in names if name.endswith(".mhd")}
    voxels = {name for name in names if name.endswith(VOXEL_SUFFIXES)}
    names = [n for n in names if n not in voxels or n.rpartition(".")[0] not in volumes]
    LOG.info("find_series: %d files under %s", len(names), root)
    with ThreadPoolExecutor(threads) as pool:
        found = list(
            progress(
                pool.map(lambda name: identify_file(root, name, known), names),
                "find_series: files read",
                total=len(names),
            )
        )
    unused += [row for row in found if isinstance(row, Unused)]
    rows, rest = choose_files([row for row in found if not isinstance(row, Unused)])
    return rows, unused + rest


def index_volumes(root: Path, listed: Path, series: pd.DataFrame):
    """Return the usable rows and the Unused of the volumes that a CSV names."""
    table = read_volume_list(listed)
    rows, unused, seen = [], [], set()
    for line, entry in enumerate(table.to_dict("records"), start=2):
        origin = f"line {line} of {listed}"
        path = find_volume(root, listed.parent, str(entry["file"]), origin)
        name = str(path.relative_to(root))
        series_uid = checked_uid(entry["series_uid"], origin)
        if name in seen:
            unused.append(Unused(name, "named twice", origin))
        elif series_uid not in series.index:
            unused.append(Unused(name, "other series", series_uid))
        else:
            try:
                rows.append(volume_row(root, name, entry, series.loc[series_uid], origin))
            except BadFile as error:
                unused.append(Unused(name, error.reason, error.detail))
        seen.add(name)
    return rows, unused


def find_volume(root: Path, folder: Path, file: str, origin: str) -> Path:
    """Return the path of a volume that a list names, below the list's folder or its `images/`."""
    if not file.endswith(SUFFIXES):
        raise InputError(
            f"{origin} names {file!r}", f"a volume ({', '.join(SUFFIXES)})", "convert it first"
        )
    for path in (folder / file, folder / "images" / file):
        if path.is_file():
            if ".." in Path(file).parts or not path.resolve().is_relative_to(root):
                raise InputError(
                    f"{origin} names {file!r}, outside of {root}",
                    "volumes inside source.root",
                    "move them there, or choose a root that holds both the list and the volumes",
                )
            return path
    raise InputError(
        f"{origin} names {file!r}, which is neither in {folder} nor in its images folder",
        "a file for every row",
        "add that file or remove the row",
    )


def volume_row(root: Path, name: str, entry: dict, series: pd.Series, origin: str) -> dict:
    """Return a listed volume's row of the table `files`; raises BadFile and InputError."""
    if not pd.isna(entry["patient_id"]) and entry["patient_id"] != series["patient_id"]:
        raise InputError(
            f"{origin} gives the patient {entry['patient_id']} to a series of "
            f"{series['patient_id']}",
            "the patient of that series",
            "correct series_uid or patient_id in that row",
        )
    place = {ours: entry[theirs] for theirs, ours in PLACES.items()}
    missing = [theirs for theirs, ours in PLACES.items() if pd.isna(place[ours])]
    if 0 < len(missing) < len(PLACES):
        raise InputError(
            f"{origin} lacks {', '.join(missing)}",
            "row0, col0 and slice0 for a cut-out, none of them for a whole volume",
            "complete that row",
        )
    size = dict(zip(SIZES, volume_size(root / name), strict=True))
    size = {key: size[key] if pd.isna(entry[key]) else entry[key] for key in SIZES}
    is_whole = bool(missing) or (
        not any(place.values()) and size["num_slices"] == series["num_slices"]
    )
    return file_row(
        root,
        name,
        series.name,
        **(dict.fromkeys(place, 0) if missing else place),
        **size,
        **{key: entry[key] for key in ORIGINS},
        is_cut_out=not is_whole,
        data_kind="scan" if is_whole else "cut_out",
    )


def frame_of(rows: list, table: str) -> pd.DataFrame:
    """Return rows as a frame with the columns of a table, also when there are none."""
    columns = [column["name"] for column in load_schema(table)["columns"]]
    return pd.DataFrame(rows, columns=columns)


def main(argv=None):
    """Read the flags, index the files, write both tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--series", required=True, help="list_series/series.csv")
    parser.add_argument("--root", required=True, help="folder of the image files")
    parser.add_argument("--volumes", nargs="?", default="", const="", help="CSV, below the root")
    parser.add_argument("--threads", type=int, default=2, help="files read at a time (default 2)")
    parser.add_argument("--out-files", required=True, help="files.csv")
    parser.add_argument("--out-unused", required=True, help="unused.csv")
    args = parser.parse_args(argv)
    root = Path(args.root).resolve()
    series = read_table(args.series, "series").set_index("series_uid")
    if args.volumes:
        rows, unused = index_volumes(root, root / args.volumes, series)
    else:
        rows, unused = index_folder(root, set(series.index), args.threads)
    reasons = dict(Counter(entry.reason for entry in unused).most_common())
    log_counts(
        "find_series: files", came_in=len(rows) + len(unused), dropped=reasons, went_out=len(rows)
    )
    if not rows:
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "no file"
        raise InputError(
            f"{root} holds no image of a series that readers marked ({found})",
            "DICOM files of LIDC-IDRI's CT series, LUNA16's .mhd volumes, or source.volumes",
            "correct source.root, or download the collection first",
        )
    made_by = provenance(__file__, args)
    files = frame_of(rows, "files").sort_values(["source_series_uid", "path"])
    write_table(files, args.out_files, "files", made_by)
    unused = frame_of([vars(entry) for entry in unused], "unused_files").sort_values("path")
    write_table(unused, args.out_unused, "unused_files", made_by)


if __name__ == "__main__":
    run_command(main)
