"""Seconds and memory that the phantom scanner takes for a series of about 40 slices.

python tests/bench/bench_simulate_series.py
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import simulate_series  # noqa: E402
from phantom_inputs import write_inputs  # noqa: E402

from quorum.tables import read_table  # noqa: E402

NUM_SERIES = 8
TARGET_S = 2.0


def main():
    """Simulate one shard and print the time for each 40 slices."""
    place = {"row": 300, "column": 140, "z_mm": -200.0, "radius_mm": 8.0}
    scan = {"z_mm": np.arange(-350, -50, 1.1), "pixel_mm": 0.7, "thickness_mm": 1.25}
    scans = [
        {**scan, "patient_id": f"LIDC-IDRI-{k + 1:04d}", "nodules": [place]}
        for k in range(NUM_SERIES)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_inputs(folder, scans)
        files = folder / "files.csv"
        start = time.process_time()
        simulate_series.main(
            [f"--{flag}={path}" for flag, path in paths.items()]
            + ["--noise-hu=25", "--seed=0", f"--out-folder={folder / 'dicom'}"]
            + [f"--out-files={files}"]
        )
        seconds = time.process_time() - start
        num_slices = len(read_table(files, "files"))
    per_series = seconds / num_slices * 40
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ratio = per_series / TARGET_S
    print(f"{NUM_SERIES} series, {num_slices} slices: {seconds:.1f} CPU s, peak {peak_mb:.0f} MB")
    print(f"{per_series:.2f} CPU s for 40 slices, {ratio:.2f} of the {TARGET_S} s aimed at")


if __name__ == "__main__":
    main()
