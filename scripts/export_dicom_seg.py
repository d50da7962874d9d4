"""Hand masks on as DICOM: consensus and prediction as SEG, their measurements as SR.

Reads
    --results  the results folder; of it the shards, predict_cubes/<experiment>/fold<fold>_seed
               <seed>.h5 or ensemble.h5, and check_series' tables of slices and of kept headers
Writes
    --out-folder  <patient>/<nodule>.seg.dcm: DICOM Segmentation, one segment a subject, in the
                  slices of the source series; <patient>/<series>.sr.dcm: measurements (TID 1500)
                  of volume [mm3] and long axis in a slice [mm], one group a segment;
                  masks.csv: the table `handed_masks`, one row a mask
Method
    The pixels may be gone: geometry and patient come from the headers that check_series kept. A
    mask goes from the cube's grid to the series' by the shards' own rule, its volume kept. A
    segment of nothing is left out, since DICOM has no empty segment; masks.csv counts it.
Source
    DICOM PS3.3 A.51 (Segmentation), PS3.16 TID 1500; highdicom (10.1007/s10278-022-00683-y)
"""

from pathlib import Path

import numpy as np
import pandas as pd

from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.files import write_whole_folder
from quorum.handed_masks import Handed, series_rows
from quorum.mask_rows import mask_rows, place_masks
from quorum.run_files import add_run_flags, require_packages
from quorum.tables import write_table


def nodule_seg(handed, nodule_id: str, placed, headers, number: int):
    """Return one nodule's segmentation on whole slices, or None where nobody marked anything."""
    from quorum.dicom_seg import make_seg

    masks, start, scan = placed
    if not masks.any():
        return None
    rows, columns = (len(axis) for axis in scan.raster.geometry.axes[1:])
    whole = np.zeros((*masks.shape[:2], rows, columns), bool)
    (_, y, x), (height, width) = start, masks.shape[2:]
    whole[:, :, y : y + height, x : x + width] = masks
    own = headers[start[0] : start[0] + masks.shape[1]]
    return make_seg(own, whole, handed.subjects(), nodule_id=nodule_id, number=number)


def export_series(handed, names: list, tables, folder: Path) -> list:
    """Write the files of one series' nodules; return their rows of `handed_masks`."""
    from quorum.dicom_seg import headers_of, make_report, measure_segments

    slices, header_rows = tables
    headers = headers_of(header_rows, handed.series_of(names[0]))
    rows, segs, groups = [], [], []
    for number, nodule_id in enumerate(names, 1):
        placed = place_masks(handed, nodule_id, slices)
        own = mask_rows(handed, nodule_id, placed)
        seg = nodule_seg(handed, nodule_id, placed, headers, number)
        path = folder / own[0]["patient_id"] / f"{nodule_id}.seg.dcm"
        rows += [{**row, "file": str(path.relative_to(folder)) if seg else None} for row in own]
        if seg is None:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        seg.save_as(path)
        segs.append(seg)
        shown = [k for k, row in enumerate(own) if row["num_voxels"]]
        subjects = [handed.subjects()[k] for k in shown]
        groups += measure_segments(seg, subjects, [own[k] for k in shown], nodule_id)
    if segs:
        path = folder / rows[0]["patient_id"] / f"{names[0].split('-')[0]}.sr.dcm"
        make_report(headers, segs, groups).save_as(path)
    return rows


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    add_run_flags(parser)
    parser.add_argument("--out-folder", required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, place, write."""
    args = parse_args(argv)
    require_packages("highdicom")
    handed = Handed(
        args.results, args.experiment, fold=args.fold, seed=args.seed, consensus=args.consensus
    )
    tables = (
        series_rows(args.results, ".parquet", "series_slices"),
        series_rows(args.results, ".headers.parquet", "headers"),
    )
    names, by_series = handed.chosen(args.nodules), {}
    for name in names:
        by_series.setdefault(handed.series_of(name), []).append(name)
    rows = []
    with write_whole_folder(args.out_folder) as folder:
        for own in progress(by_series.values(), "series"):
            rows += export_series(handed, own, tables, folder)
        frame = pd.DataFrame(rows)
        write_table(frame, folder / "masks.csv", "handed_masks", provenance(__file__, args))
    empty = int((frame["num_voxels"] == 0).sum())
    dropped = {"empty, so no segment": empty}
    log_counts("masks", came_in=len(frame), dropped=dropped, went_out=len(frame) - empty)


if __name__ == "__main__":
    run_command(main)
