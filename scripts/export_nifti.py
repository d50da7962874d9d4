"""Hand masks on as NIfTI: consensus, prediction and probability of each nodule.

Reads
    --results  the results folder; of it the shards, predict_cubes/<experiment>/fold<fold>_seed
               <seed>.h5 or ensemble.h5, and check_series' table of slices
Writes
    --out-folder  <patient>/<nodule>.<what>.nii.gz; what: consensus and prediction (uint8, on the
                  grid of the source series or volume), or, with --grid cube, these two, image
                  (int16, HU) and probability (float32) on the cube's grid;
                  masks.csv: the table `handed_masks`, one row a mask
Method
    A mask goes from the cube's grid to the series' by the shards' own rule, its volume kept. NIfTI
    has one spacing along an axis: a series whose slices are uneven is refused there.
Source
    NIfTI-1; SimpleITK turns LPS into NIfTI's RAS
"""

from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole_folder
from quorum.geometry import Geometry
from quorum.handed_masks import Handed, series_rows
from quorum.mask_rows import mask_rows, place_masks
from quorum.run_files import add_run_flags
from quorum.series_masks import grid_of
from quorum.tables import write_table

WHAT = ("consensus", "prediction")
# ASSUME: steps between slices may differ by 0.01 mm, the digits of their positions.
MAX_UNEVEN_MM = 0.01


def to_image(array: np.ndarray, geometry: Geometry, words: str):
    """Return an array as an image in its place, with a description of 79 characters at most.

    Raises
    ------
    InputError
        When slices are uneven.
    """
    steps = np.diff(geometry.axes[0].centers_mm)
    spacing = float(steps.mean()) if len(steps) else geometry.spacing_mm[0]
    if len(steps) and np.ptp(steps) > MAX_UNEVEN_MM:
        raise InputError(
            f"slices of {words} lie {steps.min():.3f} to {steps.max():.3f} mm apart",
            "even slices, as NIfTI needs them",
            "pass --grid cube, or use scripts/export_dicom_seg.py",
        )
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((geometry.spacing_mm[2], geometry.spacing_mm[1], spacing))
    image.SetOrigin(geometry.index_to_lps((0, 0, 0)))
    image.SetDirection(geometry.direction.ravel())
    image.SetMetaData("ITK_FileNotes", words[:79])
    return image


def on_series(handed, nodule_id: str, placed) -> dict:
    """Return a nodule's two masks on the whole grid of its series or volume, as images."""
    masks, start, scan = placed
    geometry, images = scan.raster.geometry, {}
    window = tuple(slice(a, a + n) for a, n in zip(start, masks.shape[1:], strict=True))
    for what, mask, subject in zip(WHAT, masks, handed.subjects(), strict=True):
        whole = np.zeros(geometry.shape, np.uint8)
        whole[window] = mask
        images[what] = to_image(whole, geometry, f"{subject.label} {nodule_id}")
    return images


def on_cube(handed, nodule_id: str) -> dict:
    """Return a nodule's image, masks and probability on the cube's grid, as images."""
    k = handed.row_of[nodule_id]
    arrays = dict(zip(WHAT, (m.astype(np.uint8) for m in handed.masks(nodule_id)), strict=True))
    arrays["probability"] = handed.probability(nodule_id)
    arrays["image"] = handed.cubes.image(k)
    grid, mark = grid_of(handed.cubes, k), "PHANTOM " if handed.is_phantom else ""
    return {
        what: to_image(array, grid, f"{mark}{what} {nodule_id}") for what, array in arrays.items()
    }


def export_nodule(handed, nodule_id: str, slices, *, grid: str, folder: Path) -> list:
    """Write one nodule's files; return its rows of `handed_masks`."""
    placed = place_masks(handed, nodule_id, slices)
    is_series = grid == "series"
    images = on_series(handed, nodule_id, placed) if is_series else on_cube(handed, nodule_id)
    rows = mask_rows(handed, nodule_id, placed)
    patient = folder / rows[0]["patient_id"]
    patient.mkdir(parents=True, exist_ok=True)
    for what, image in images.items():
        sitk.WriteImage(image, str(patient / f"{nodule_id}.{what}.nii.gz"))
    files = [f"{patient.name}/{nodule_id}.{what}.nii.gz" for what in WHAT]
    return [{**row, "file": file} for row, file in zip(rows, files, strict=True)]


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    add_run_flags(parser)
    parser.add_argument("--grid", choices=("series", "cube"), default="series", help="whose grid")
    parser.add_argument("--out-folder", required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, place, write."""
    args = parse_args(argv)
    handed = Handed(
        args.results, args.experiment, fold=args.fold, seed=args.seed, consensus=args.consensus
    )
    slices, rows = series_rows(args.results, ".parquet", "series_slices"), []
    names = handed.chosen(args.nodules)
    with write_whole_folder(args.out_folder) as folder:
        for name in progress(names, "nodules"):
            rows += export_nodule(handed, name, slices, grid=args.grid, folder=folder)
        made_by = provenance(__file__, args)
        write_table(pd.DataFrame(rows), folder / "masks.csv", "handed_masks", made_by)
    log_counts("nodules", came_in=len(names), dropped={}, went_out=len(names))


if __name__ == "__main__":
    run_command(main)
