"""Results folders as far as handing on needs them: series checked, cubes cut, one run predicted.

from export_inputs import phantom_results, real_results
results = phantom_results(tmp_path)   # two phantom series: turned in plane, and one with a gap
"""

import json
from pathlib import Path

import check_series
import extract_cubes
import find_series
import numpy as np
import select_nodules
import simulate_series
from annotation_factory import real_tables
from image_tables import arguments
from phantom_inputs import write_inputs

from quorum.consensus import level_mask
from quorum.predictions import ATTRIBUTES, PredictionsWriter
from quorum.shards import open_shards

TURNED, UNEVEN = "LIDC-IDRI-0262", "LIDC-IDRI-0002"
EXPERIMENT = "moved"
CRITERIA = {
    "min_annotations": 4,
    "max_annotations": 4,
    "min_diameter_mm": None,
    "max_diameter_mm": None,
    "max_slice_thickness_mm": None,
    "num_patients": None,
    "patients": [],
    "seed": 0,
}


def made_up_scans() -> list:
    """Return two scans: rows and columns turned, and slices with a gap beyond the nodule."""
    gap = np.concatenate([np.arange(-300, -210, 2.0), np.arange(-206, -150, 2.0)])
    shared = {"pixel_mm": 0.7, "thickness_mm": 2.5}
    places = [{"row": 300, "column": 130, "z_mm": -200.0, "radius_mm": 7.0}]
    turned = {**shared, "patient_id": TURNED, "z_mm": np.arange(-340, -100, 2.5)}
    uneven = {**shared, "patient_id": UNEVEN, "z_mm": gap}
    beside = [{"row": 220, "column": 150, "z_mm": -222.0, "radius_mm": 6.0}]
    return [{**turned, "nodules": places}, {**uneven, "nodules": beside}]


def phantom_results(folder: Path) -> Path:
    """Return the results folder of two phantom series, one nodule each."""
    results = folder / "results"
    tables = write_inputs(folder, made_up_scans())
    tables = {f"--{name}": path for name, path in tables.items()}
    files = {"--out-folder": folder / "images", "--out-files": folder / "files.csv"}
    simulate_series.main(arguments(tables, {"--noise-hu": 25, "--seed": 0}, files))
    return cut_and_predict(results, tables, folder / "files.csv", root="")


def real_results(folder: Path, real_data: Path) -> Path:
    """Return the results folder of the one real DICOM series."""
    tables = {f"--{name}": path for name, path in real_tables().items()}
    series, slices = ({name: tables[name]} for name in ("--series", "--slices"))
    root, files, plan = real_data / "lidc-dicom", folder / "files.csv", folder / "plan.csv"
    outputs = {"--out-files": files, "--out-unused": folder / "unused.csv"}
    find_series.main(arguments(series, {"--root": root, "--threads": 1}, outputs))
    select_nodules.main(
        arguments(
            {"--nodules": tables["--nodules"], "--files": files},
            {"--criteria": json.dumps(CRITERIA), "--out-nodules": plan},
            {"--out-attrition": folder / "attrition.csv"},
            series,
            slices,
        )
    )
    return cut_and_predict(folder / "results", {**tables, "--plan": plan}, files, root=root)


def cut_and_predict(results: Path, tables: dict, files: Path, *, root) -> Path:
    """Check the series, cut the cubes and write one run's predictions."""
    for rule in ("check_series", "extract_cubes", f"predict_cubes/{EXPERIMENT}"):
        (results / rule).mkdir(parents=True)
    checked, shard = results / "check_series", results / "extract_cubes" / "shard00.h5"
    plan = {"--plan": tables["--plan"], "--root": root}
    outputs = {
        "--out-findings": checked / "shard00.csv",
        "--out-slices": checked / "shard00.parquet",
    }
    series = {name: tables[name] for name in ("--series", "--slices")}
    headers = {"--out-headers": checked / "shard00.headers.parquet"}
    check_series.main(arguments(plan, {"--files": files}, series, outputs, headers))
    inputs = {"--findings": outputs["--out-findings"], "--slices": outputs["--out-slices"]}
    cubes = {"--out-shard": shard, "--out-dropped": results / "extract_cubes/shard00.dropped.csv"}
    extract_cubes.main(arguments(plan, inputs, {"--contours": tables["--contours"]}, cubes))
    predict(results, open_shards(shard))
    return results


def predict(results: Path, cubes, share=0.9, experiment=EXPERIMENT):
    """Write predictions: the majority moved by two voxels towards the patient's left."""
    attributes = {
        **dict.fromkeys(ATTRIBUTES, 0),
        "experiment": experiment,
        "part": "fold0",
        "data_kind": cubes.data_kind,
        "threshold": 0.5,
        "postprocess": "none",
        "method": "network",
        "made_by": {},
    }
    path = results / "predict_cubes" / experiment / "fold0_seed0.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = {"offsets_mm": [0.0], "cube_vox": cubes.shape_vox}
    names = [str(name) for name in cubes.nodule_id]
    with PredictionsWriter(path, attributes, nodule_id=names, **sizes) as writer:
        for row in range(len(names)):
            mask = level_mask(cubes.readers(row), int(cubes.num_readers[row]), 0.5)
            moved = np.roll(mask, 2, axis=2) * share
            box = [0, 0, 0, *cubes.shape_vox]
            writer.put(row, 0, click=[20, 40, 40], box=box, probability=moved)
