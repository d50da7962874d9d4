"""Time and memory of the report: 897 nodules in under a minute, and linear.

Run: OMP_NUM_THREADS=1 python tests/bench/bench_write_report.py [small large]
Prints seconds and peak memory for both sizes, and the ratio of CPU times by nodule.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from report_inputs import make_inputs  # noqa: E402

from quorum.report.niivue import installed_bundle  # noqa: E402

MAX_SCORED = 144  # a fifth of 80 % of the 897: what one fold scores


def timed(num_nodules: int) -> float:
    """Return the script's CPU seconds, imports included; print them with wall time and memory."""
    with tempfile.TemporaryDirectory() as folder:
        flags = make_inputs(
            folder, num_nodules, num_scored=min(MAX_SCORED, num_nodules - 2), has_evaluation=True
        )
        page = Path(folder, "report", "index.html")
        command = [sys.executable, str(ROOT / "scripts" / "write_report.py"), *flags]
        command += ["--viewer", installed_bundle()]
        command += ["--out-page", str(page), "--out-assets", str(page.parent / "assets")]
        start, before = time.monotonic(), cpu_seconds()
        subprocess.run(command, check=True, capture_output=True)
        seconds, busy = time.monotonic() - start, cpu_seconds() - before
        size_mb = sum(p.stat().st_size for p in page.parent.rglob("*") if p.is_file()) / 1e6
        page_mb = max(p.stat().st_size for p in page.parent.glob("*.html")) / 1e6
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"{num_nodules} nodules: {seconds:.1f} s ({busy:.1f} s of CPU), peak {peak_mb:.0f} MB, "
        f"largest page {page_mb:.1f} MB, with assets {size_mb:.1f} MB"
    )
    return busy


def cpu_seconds() -> float:
    """Return the CPU time of all finished children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main():
    """Time a small and a large report."""
    small, large = (int(word) for word in sys.argv[1:3]) if len(sys.argv) > 2 else (224, 897)
    first, second = timed(small), timed(large)
    print(f"CPU seconds a nodule, large against small: {second / large / (first / small):.2f}")


if __name__ == "__main__":
    main()
