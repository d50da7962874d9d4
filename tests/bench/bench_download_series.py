"""How long download_series takes beside plain `s5cmd cp`, and how much memory: printed, not tested.

Both fetch the same objects from the same S3 server (moto's) on loopback, in turns; download_series
lists, verifies (MD5, SHA-256, DICOM header, UIDs) and writes its tables too. The server, which in
life is another machine, has one core to itself; both clients have the rest. One untimed run of each
comes first. Run it with: python tests/bench/bench_download_series.py

Loopback has no end of bandwidth, so that processors alone decide; `--line-mbit 1000` (root,
iproute2) puts everything behind a line of that rate, in a network namespace of its own.
`--series 17 --files 250` is one of the 32 shards of config/lidc.yaml.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from dicom_factory import write_series  # noqa: E402
from download_inputs import Stand, write_inputs  # noqa: E402
from s3_server import s3_server  # noqa: E402

PIXELS = 512
BEHIND = "QUORUM_BENCH_LINE_MBIT"


def run(words) -> tuple[float, float]:
    """Run a command; return wall time [s] and the largest memory of it and its children [MB]."""
    start, peak = time.perf_counter(), 0
    process = psutil.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            tree = [process, *process.children(recursive=True)]
            peak = max(peak, sum(one.memory_info().rss for one in tree))
        except psutil.Error:
            pass
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{words[0]} failed")
    return time.perf_counter() - start, peak / 1e6


def behind_line(mbit: int):
    """Start this script again where loopback has a line's rate."""
    line = f"tc qdisc add dev lo root tbf rate {mbit}mbit burst 512kb latency 50ms"
    words = ["unshare", "--net", "sh", "-c", f'ip link set lo up && {line} && exec "$@"', "sh"]
    os.environ[BEHIND] = str(mbit)
    os.execvp(words[0], [*words, sys.executable, *sys.argv])


def keep_apart():
    """Give the server one core, and this process with all that it starts the other ones."""
    cores = psutil.Process().cpu_affinity()
    if len(cores) > 1:
        for server in psutil.Process().children(recursive=True):
            for thread in server.threads():
                psutil.Process(thread.id).cpu_affinity(cores[:1])
        psutil.Process().cpu_affinity(cores[1:])


def store_series(folder: Path, args, endpoint: str) -> Stand:
    """Store series of whole CT slices of noise on the server."""
    random = np.random.default_rng(0)
    stand = Stand(folder / "inputs", endpoint)
    for number in range(args.series):
        uid, source = f"1.2.826.0.1.3680043.8.498.7.{number + 1}", folder / "source"
        pixels = random.integers(0, 4000, (args.files, PIXELS, PIXELS)).astype(np.int16)
        z_mm = np.arange(args.files) * 1.25
        write_series(source, z_mm, pixels, SeriesInstanceUID=uid, PatientID=f"P{number}")
        stand.add(uid, source)
        shutil.rmtree(source)
    return stand


def main():
    """Store, measure in turns, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=12)
    parser.add_argument("--files", type=int, default=130, help="files a series, 0.5 MB each")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--port", type=int, default=5733)
    parser.add_argument("--line-mbit", type=int, help="rate of the line, Mbit/s")
    args = parser.parse_args()
    if args.line_mbit and BEHIND not in os.environ:
        behind_line(args.line_mbit)
    with tempfile.TemporaryDirectory() as name, s3_server(args.port) as endpoint:
        folder = Path(name)
        stand = store_series(folder, args, endpoint)
        flags = write_inputs(stand)
        commands = folder / "commands"
        commands.write_text(
            "".join(f"cp 's3://{row['bucket']}/{row['crdc_series_uuid']}/*' {folder}/plain/"
                    f"{row['series_uid']}/\n" for row in stand.rows)
        )  # fmt: skip
        plain = ["s5cmd", "--no-sign-request", "--endpoint-url", endpoint, "run", commands]
        ours = [sys.executable, ROOT / "scripts" / "download_series.py", *flags]
        times = {"plain": [], "ours": []}
        keep_apart()
        for repeat in range(args.repeats + 1):
            for key, words in (("plain", plain), ("ours", ours)):
                for left in (folder / "plain", stand.folder / "results"):
                    shutil.rmtree(left, ignore_errors=True)
                seconds, peak_mb = run(words)
                if repeat:
                    times[key].append(seconds)
                print(f"{key}: {seconds:.2f} s, {peak_mb:.0f} MB", flush=True)
        medians = {key: statistics.median(values) for key, values in times.items()}
        pairs = [o / p for o, p in zip(times["ours"], times["plain"], strict=True)]
        size_mb = sum(row["num_bytes"] for row in stand.rows) / 1e6
        line = f"a line of {args.line_mbit} Mbit/s" if args.line_mbit else "loopback"
        ratio, paired = medians["ours"] / medians["plain"], statistics.median(pairs)
        print(f"{size_mb:.0f} MB over {line}: plain s5cmd cp {medians['plain']:.2f} s")
        print(f"download_series {medians['ours']:.2f} s, ratio {ratio:.2f} (of pairs {paired:.2f})")


if __name__ == "__main__":
    main()
