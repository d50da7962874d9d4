"""Phantom DICOM series of one shard, built on the real readers' outlines.

Reads
    --plan      nodules of the shard (schema nodules)
    --series    list of CT series (schema series): pixel spacing, slice thickness
    --slices    z of every slice of every series (schema slices)
    --contours  readers' outlines (schema contours)
Writes
    --out-folder  <series_uid>/<number>.dcm, a CT series under 2.25 for each annotated series, and
                  <series_uid>/latent.h5, each nodule's true surface (quorum/phantom_latent.py)
    --out-files   index of the files (schema files)
Method
    A chest with lungs, ribs and branching vessels stands on the real series' pixels and slices;
    each nodule is a body with one true surface drawn from its readers, with attenuation from its
    ratings, free, on a vessel or on the wall. The scanner averages over the slice thickness,
    blurs the plane and adds correlated noise. Only slices that cubes reach are rendered.
    It tests the pipeline: nothing measured on it is a finding about patients or readers.
Source
    Outlines and geometry: LIDC-IDRI (Armato et al. 2011, doi 10.1118/1.3528204), CC BY 3.0.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole_folder
from quorum.outlines import outlines_by_annotation
from quorum.phantom_body import Raster
from quorum.phantom_dicom import series_header, write_slice
from quorum.phantom_latent import FILE_NAME, write_latent
from quorum.phantom_patient import generator, make_patient, render_chunks, slab_of
from quorum.tables import read_table, write_table

# ASSUME: these patients' rows and columns run against y and x, ImageOrientationPatient
# -1 0 0 0 -1 0 (measured on the DICOM headers; lidc2dicom issue 9)
TURNED = tuple(
    f"LIDC-IDRI-{number:04d}"
    for number in (262, 291, 311, 313, 415, 423, 671, 697, 785, 796, 850, 938)
)


def simulate(folder: Path, nodules, outlines: dict, source: dict, options: dict) -> list:
    """Write one phantom series and return the rows of its files.

    Parameters
    ----------
    folder : Path
        Where the series' own folder goes.
    nodules : DataFrame
        Of this series.
    outlines : dict of str to list of Outline
    source : dict
        The series' row of the series table, and `z_mm` of its slices.
    options : dict
        noise_hu, seed.
    """
    seed, z_all = options["seed"], source["z_mm"]
    raster = Raster(
        slab_of(nodules, z_all),
        float(source["pixel_spacing_mm"]),
        float(source["slice_thickness_mm"]),
        -1 if source["patient_id"] in TURNED else 1,
    )
    patient = make_patient(nodules, outlines, raster, (z_all[0], z_all[-1]), seed)
    raster = patient.raster
    header = series_header(source, raster, seed)
    uids = {
        "series_uid": str(header.SeriesInstanceUID),
        "source_series_uid": source["series_uid"],
    }
    place = folder / uids["series_uid"]
    place.mkdir()
    write_latent(place / FILE_NAME, patient.latents, z_mm=raster.z_mm, seed=seed, **uids)
    rng = generator(seed, source["series_uid"], "noise")
    chunks = render_chunks(patient, options["noise_hu"], rng)
    return [{**uids, **row} for row in write_slices(place, header, raster, chunks)]


def write_slices(place: Path, header, raster: Raster, chunks):
    """Write each slice as <number>.dcm, from the lowest up, and yield its row of the index."""
    for start, image in chunks:
        for number, plane in enumerate(image, start):
            path = place / f"{number + 1:04d}.dcm"
            where = (number + 1, raster.z_mm[number])
            sop_uid = write_slice(path, header, plane, raster=raster, place=where)
            yield {
                "path": f"{place.name}/{path.name}",
                "sop_instance_uid": sop_uid,
                "num_bytes": path.stat().st_size,
            }


def source_of(series: pd.DataFrame, slices: pd.DataFrame, uid: str) -> dict:
    """Return one series' row and its slices' z, or raise an InputError when either is missing."""
    row = series[series["series_uid"] == uid]
    z_mm = np.unique(slices.loc[slices["series_uid"] == uid, "z_mm"].to_numpy(float))
    if len(row) != 1 or not len(z_mm):
        raise InputError(
            f"the planned series {uid} has {len(row)} rows and {len(z_mm)} slices in the tables",
            "one row and at least one slice",
            "make the tables and the plan again with the rules list_series and plan_shards",
        )
    return {**row.iloc[0].to_dict(), "z_mm": z_mm}


def index_table(rows: list, folder: Path) -> pd.DataFrame:
    """Return the table of files, with paths as they are after the folder has its name."""
    columns = ["series_uid", "source_series_uid", "path", "num_bytes", "sop_instance_uid"]
    files = pd.DataFrame(rows, columns=columns)
    files["path"] = [str(folder / path) for path in files["path"]]
    placing = ("row0", "column0", "slice0", "num_rows", "num_columns", "num_slices")
    files[[*placing, "series_origin_x_mm", "series_origin_y_mm"]] = np.nan
    return files.assign(kind="dicom", is_cut_out=False, data_kind="phantom")


def main(argv=None):
    """Simulate the series of one shard."""
    parser = make_parser(__doc__)
    for name in ("plan", "series", "slices", "contours", "out-folder", "out-files"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--noise-hu", type=float, required=True, help="standard deviation [HU]")
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args(argv)
    plan, series = read_table(args.plan, "nodules"), read_table(args.series, "series")
    slices = read_table(args.slices, "slices")
    contours = read_table(args.contours, "contours")
    wanted = [key for ids in plan["annotation_ids"] for key in ids]
    outlines = outlines_by_annotation(contours, wanted)
    options = {"noise_hu": args.noise_hu, "seed": args.seed}
    groups = list(plan.groupby("series_uid", sort=True))
    rows = []
    with write_whole_folder(args.out_folder) as folder:
        for uid, nodules in progress(groups, "series simulated"):
            source = source_of(series, slices, uid)
            rows += simulate(folder, nodules, outlines, source, options)
    write_table(
        index_table(rows, args.out_folder), args.out_files, "files", provenance(__file__, args)
    )
    log_counts("series", came_in=plan["series_uid"].nunique(), dropped={}, went_out=len(groups))
    log_counts("nodules", came_in=len(plan), dropped={}, went_out=sum(len(g) for _, g in groups))


if __name__ == "__main__":
    run_command(main)
