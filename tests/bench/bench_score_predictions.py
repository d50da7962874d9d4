"""Time and memory of scoring: 897 nodules with all metrics in under 3 minutes, and linear.

Run: OMP_NUM_THREADS=1 python tests/bench/bench_score_predictions.py [small large [samples]]
Prints seconds and peak memory of score_predictions for both sizes, the ratio of CPU times by
nodule, and the seconds of compare_experiments and compare_with_readers on the larger one. The
sizes of nodules are LIDC-IDRI's own: diameters from 3 to 47 mm, the median 10 mm.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from shard_factory import make_shard  # noqa: E402

from quorum.predictions import PredictionsWriter  # noqa: E402
from quorum.shards import open_shards  # noqa: E402
from quorum.tables import load_schema, write_table  # noqa: E402

MEDIAN_RADIUS_MM = 5.05  # LIDC-IDRI's 897: median diameter 10.1 mm, largest 46.8 mm
OFFSETS_MM = [0.0, 2.0, 4.0, 8.0]
EMPTY = {"string": "x", "integer": 1, "number": 1.0, "boolean": False}


def make_cohort(folder: Path, num_nodules: int, num_samples: int) -> list:
    """Write shards, predictions of one run, a split and agreement; return the script's flags."""
    noise, shards = np.random.default_rng(0), []
    radii_mm = np.clip(noise.lognormal(np.log(MEDIAN_RADIUS_MM), 0.5, num_nodules), 1.5, 19)
    for first in range(0, num_nodules, 113):
        some = radii_mm[first : first + 113]
        path = folder / f"shard{len(shards):02d}.h5"
        make_shard(path, len(some), first=first, data_kind="scan", radii_mm=some)
        shards.append(str(path))
    cubes = open_shards(shards)
    names = [str(name) for name in cubes.nodule_id]
    attributes = {
        "experiment": "bench", "fold": 0, "seed": 0, "part": "fold0", "threshold": 0.5,
        "data_kind": cubes.data_kind, "method": "network", "made_by": {},
    }  # fmt: skip
    sizes = {"offsets_mm": OFFSETS_MM, "cube_vox": cubes.shape_vox, "num_samples": num_samples}
    box = [0, 0, 0, *cubes.shape_vox]
    with PredictionsWriter(folder / "run.h5", attributes, nodule_id=names, **sizes) as writer:
        for row in range(num_nodules):
            share = np.bitwise_count(cubes.readers(row)) / 4
            likely = np.clip(share + noise.normal(0, 0.1, share.shape) * (share > 0), 0, 1)
            for column in range(len(OFFSETS_MM)):
                moved = np.roll(likely, column, axis=2)
                writer.put(row, column, click=[20, 40, 40], box=box, probability=moved)
            if num_samples:
                masks = np.stack([np.roll(share, k % 3, axis=1) >= 0.5 for k in range(num_samples)])
                writer.put_samples(row, box, masks)
    patients = sorted(set(map(str, cubes.patient_id)))
    split = pd.DataFrame({"patient_id": patients, "part": "fold0", "num_nodules": 2})
    write_table(split, folder / "splits.csv", "splits", {})
    agreement = pd.DataFrame({"nodule_id": names, "kind": "pair", "reader_a": 1, "reader_b": 2})
    agreement = agreement.assign(dice=0.8, iou=0.7, hd95_mm=1.5, assd_mm=0.5, is_empty_mask=False)
    write_table(agreement, folder / "agreement.csv", "agreement", {})
    write_cohort(folder, cubes)
    return [
        "--predictions", str(folder / "run.h5"), "--shards", *shards, "--consensus", "majority",
        "--splits", str(folder / "splits.csv"), "--agreement", str(folder / "agreement.csv"),
        "--out-scores", str(folder / "run.csv"), "--out-nodules", str(folder / "run.nodules.csv"),
        "--out-calibration", str(folder / "run.calibration.csv"),
    ]  # fmt: skip


def write_cohort(folder: Path, cubes):
    """Write the tables of nodules and series that groups go by."""
    for table, rows in (
        ("nodules", [{"nodule_id": str(name), "series_uid": str(uid)} for name, uid in
                     zip(cubes.nodule_id, cubes.source_series_uid, strict=True)]),
        ("series", [{"series_uid": uid} for uid in sorted(set(cubes.source_series_uid))]),
    ):  # fmt: skip
        columns = load_schema(table)["columns"]
        full = [{c["name"]: row.get(c["name"], EMPTY.get(c["dtype"], [])) for c in columns}
                for row in rows]  # fmt: skip
        write_table(pd.DataFrame(full), folder / f"{table}.csv", table, {})


def timed(script: str, flags: list) -> tuple:
    """Return a script's wall and CPU seconds, imports included."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *flags]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - start, busy


def score(num_nodules: int, num_samples: int, *, has_comparison: bool) -> float:
    """Score so many nodules and return CPU seconds; print them, and what follows where asked."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds, busy = timed("score_predictions", make_cohort(folder, num_nodules, num_samples))
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(
            f"{num_nodules} nodules, {num_samples} samples: {seconds:.1f} s ({busy:.1f} s of CPU), "
            f"peak {peak_mb:.0f} MB"
        )
        if has_comparison:
            compare(folder)
    return busy


def compare(folder: Path):
    """Time what follows on scores."""
    plan, scores = (
        str(ROOT / "config" / "analysis_plan.yaml"),
        ["--scores", str(folder / "run.csv")],
    )
    names = ("summary", "offsets", "pairs", "spread", "ranks", "bland-altman", "calibration")
    outs = [word for name in names for word in (f"--out-{name}", str(folder / f"{name}.csv"))]
    frozen, looks = str(folder / "plan.json"), str(folder / "looks")
    steps = {
        "compare_experiments": [
            *scores, "--nodule-scores", str(folder / "run.nodules.csv"), "--plan", plan,
            "--calibrations", str(folder / "run.calibration.csv"), "--resamples", "2000",
            "--seed", "0", *outs,
        ],
        "freeze_plan": ["--plan", plan, "--looks", looks, "--out-plan", frozen],
        "compare_with_readers": [
            *scores, "--nodules", str(folder / "nodules.csv"), "--frozen-plan", frozen,
            "--series", str(folder / "series.csv"), "--looks", looks,
            *[w for n in ("fifth-reader", "by-group", "nodules", "looks")
              for w in (f"--out-{n}", str(folder / f"out-{n}.csv"))],
        ],
    }  # fmt: skip
    for script, flags in steps.items():
        seconds, busy = timed(script, flags)
        print(f"{script}: {seconds:.1f} s ({busy:.1f} s of CPU)")


def main():
    """Time a small and a large cohort."""
    words = [int(word) for word in sys.argv[1:]]
    small, large = words[:2] if len(words) > 1 else (224, 897)
    num_samples = words[2] if len(words) > 2 else 0
    first = score(small, num_samples, has_comparison=False)
    second = score(large, num_samples, has_comparison=True)
    print(f"CPU seconds a nodule, large against small: {second / large / (first / small):.2f}")


if __name__ == "__main__":
    main()
