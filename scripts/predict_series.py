"""Apply a trained model to any CT series, without retraining: at points, in boxes, or all over it.

Reads
    --model  model.pt of train_model, of a network that sees the image alone
    --image  a folder with one CT series' DICOM files in any layout, or a volume in HU (.mhd, .nii,
             .nii.gz, .nrrd)
Writes
    --out-folder  for each point, box or scan: <name>.image.nii.gz (int16, HU),
                  <name>.probability.nii.gz (float32), <name>.mask.nii.gz (uint8), on the model's
                  grid, in place;
                  found.csv: the table `found_nodules`, one row a connected part of the answer;
                  regions.csv: the table `predicted_regions`, one row a point, box or scan
Method
    The series is checked and resampled as the project's own are. A point is a user's click: the
    network sees the crop around it, and its answer is post-processed as its validation fold wanted.
    A box larger than the crop, and a whole scan, are covered by overlapping windows blended by a
    Gaussian (MONAI). A network that was trained on crops around nodules has seen few other
    things: over a whole scan it marks vessels and walls too; each found part has its mean
    probability, to be sorted by. predict_cubes predicts the project's own cubes and guards the
    split; this script knows no split: use models whose training patients are others. Against
    masks that you have, scripts/score_series.py scores what is written here.
Source
    DICOM PS3.3 C.7.6.2; sliding windows: monai.inferers.SlidingWindowInferer.
"""

from pathlib import Path

import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole_folder
from quorum.geometry import Geometry
from quorum.tables import column_names, write_table


def chosen_regions(args, scan, model: dict) -> list:
    """Return the regions that the flags ask for.

    Raises
    ------
    InputError
        When there is none, or the scan doesn't hold one.
    """
    from quorum.regions import box_region, point_region, whole_region

    points, boxes = args.point_lps_mm or [], args.box_lps_mm or []
    if not points and not boxes and not args.whole_scan:
        raise InputError(
            "no place was named",
            "at least one point or box, or the whole scan",
            "add --point-lps-mm, --box-lps-mm or --whole-scan",
        )
    regions = [
        point_region(scan, point, model=model, name=f"point{k}")
        for k, point in enumerate(points, 1)
    ]
    regions += [
        box_region(scan, box[:3], box[3:], model=model, name=f"box{k}")
        for k, box in enumerate(boxes, 1)
    ]
    return regions + ([whole_region(scan, model=model, name="scan")] if args.whole_scan else [])


def write_volume(path: Path, array, geometry: Geometry, words: str):
    """Write an array in its place as NIfTI."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.index_to_lps((0, 0, 0)))
    image.SetDirection(geometry.direction.ravel())
    image.SetMetaData("ITK_FileNotes", words[:79])
    sitk.WriteImage(image, str(path), useCompression=True)


def write_region(folder: Path, region, found: dict, kind: str):
    """Write a region's image, probability and mask."""
    words = f"{'PHANTOM, ' if kind == 'phantom' else ''}{region.name}"
    for what in ("image", "probability", "mask"):
        array = found[what].astype("uint8") if what == "mask" else found[what]
        write_volume(folder / f"{region.name}.{what}.nii.gz", array, region.geometry, words)


def region_row(region) -> dict:
    """Return a region's name, and its click where it is a point."""
    if region.point_zyx_vox is None or region.inside is not None:
        return {"region": region.name, "point_lps_mm": None}
    point = region.geometry.index_to_lps(region.point_zyx_vox)
    return {"region": region.name, "point_lps_mm": [round(float(v), 3) for v in point]}


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", required=True, help="model.pt of train_model")
    parser.add_argument("--image", required=True, help="folder of DICOM files, or a volume")
    parser.add_argument("--series-uid", default="", help="which series, where there are several")
    parser.add_argument(
        "--point-lps-mm", nargs=3, type=float, action="append", metavar=("X", "Y", "Z"),
        help="a click; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--box-lps-mm", nargs=6, type=float, action="append",
        metavar=("X0", "Y0", "Z0", "X1", "Y1", "Z1"), help="a box; may be given again",
    )  # fmt: skip
    parser.add_argument("--whole-scan", action="store_true", help="windows slid over all of it")
    parser.add_argument("--overlap", type=float, default=0.25, help="of windows (default 0.25)")
    parser.add_argument("--no-flips", action="store_true", help="no average over flips")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-folder", required=True, help="folder to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, predict, write."""
    args = parse_args(argv)
    if not 0 <= args.overlap < 1:
        raise InputError(f"an overlap of {args.overlap}", "0 to below 1", "correct --overlap")
    import torch

    from quorum.models import read_model, refuse_other_kind
    from quorum.other_series import open_series
    from quorum.regions import found_rows, predict_region, refuse_unfit

    torch.set_num_threads(args.threads)
    model = read_model(args.model)
    refuse_unfit(model)
    scan, about = open_series(args.image, args.series_uid)
    refuse_other_kind(model, about["data_kind"])
    LOG.info("%s: %s%s", about["series_uid"], about["decision"],
             f" ({about['reason']})" if about["reason"] else "")  # fmt: skip
    regions = chosen_regions(args, scan, model)
    shared = {key: model[key] for key in ("experiment", "fold", "seed")}
    shared |= {"series_uid": about["series_uid"], "data_kind": about["data_kind"]}
    rows, table = [], []
    with write_whole_folder(args.out_folder) as folder:
        for region in progress(regions, "regions"):
            options = {"has_flips": not args.no_flips, "overlap": args.overlap}
            found = predict_region(model, scan, region, **options)
            write_region(folder, region, found, about["data_kind"])
            new = [{**shared, **row} for row in found_rows(region, found)]
            table.append({**shared, **region_row(region), "num_parts": len(new)})
            rows += new
        frame = pd.DataFrame(rows, columns=column_names("found_nodules"))
        made_by = provenance(__file__, args)
        write_table(frame, folder / "found.csv", "found_nodules", made_by)
        write_table(pd.DataFrame(table), folder / "regions.csv", "predicted_regions", made_by)
    num_empty = sum(not row["num_parts"] for row in table)
    dropped = {"nothing found": num_empty}
    log_counts("regions", came_in=len(regions), dropped=dropped, went_out=len(regions) - num_empty)


if __name__ == "__main__":
    run_command(main)
