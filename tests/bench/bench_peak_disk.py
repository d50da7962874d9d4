"""The peak on disk of a streamed run beside its plan and its budget: printed, not tested.

Stand-ins (slabs around the outlines, plain slices of full size) lie under the index's own keys on a
loopback S3 server; the run fetches, checks and cuts them shard by shard, as config/lidc.yaml does.
A watcher sums the bytes of images and cubes some twenty times a second.
Run it with: python tests/bench/bench_peak_disk.py
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

import pandas as pd  # noqa: E402
import stand_ins  # noqa: E402
from annotation_factory import real_tables  # noqa: E402
from s3_server import s3_server  # noqa: E402
from workflow_copy import copy_project  # noqa: E402

from quorum.disk_space import disk_plan  # noqa: E402
from quorum.tables import read_table  # noqa: E402

CONFIG = """\
source: {{kind: idc, endpoint: "{endpoint}", index: {index}, concurrent_shards: {at_once},
  disk_budget_gb: {budget}}}
select_nodules: {{num_patients: {patients}}}
plan_shards: {{num_shards: {shards}}}
"""


def run(project: Path, *targets):
    """Make targets as `make run` does."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    words = [sys.executable, "scripts/run_workflow.py", *targets]
    result = subprocess.run(
        [*words, "--configfile", "config/streamed.yaml"],
        cwd=project, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise SystemExit(result.stdout[-3000:] + result.stderr[-3000:])


def taken(results: Path) -> tuple:
    """Return the bytes of images and of cubes, and how many shards have images."""
    images = cubes = 0
    shards = set()
    for folder, _, names in os.walk(results):
        place = Path(folder).relative_to(results).parts
        for name in names:
            try:
                size = os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
            if place[:1] == (".partial",) or place[:1] == ("download_series",):
                images += size
                shards |= {part for part in place if part.startswith("shard")}
            elif place[:1] == ("extract_cubes",):
                cubes += size
    return images, cubes, len(shards)


def watch(results: Path, is_over: threading.Event, seen: list):
    """Note what is taken until the run is over."""
    while not is_over.wait(0.05):
        seen.append(taken(results))


def main():
    """Draw, serve, run, watch, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=24)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--budget-gb", type=float, default=1.0)
    args = parser.parse_args()
    values = {"patients": args.patients, "shards": args.shards, "at_once": args.at_once}
    with tempfile.TemporaryDirectory() as name, s3_server(5795) as endpoint:
        folder = Path(name)
        project = copy_project(folder / "project")
        config = project / "config" / "streamed.yaml"
        config.write_text(CONFIG.format(endpoint=endpoint, index="null", budget="null", **values))
        run(project, "results/plan_shards/shards.csv")
        tables, results = real_tables(), project / "results"
        plans = [pd.read_csv(path) for path in results.glob("plan_shards/shard[0-9]*.csv")]
        uids = set(pd.concat(plans)["series_uid"])
        series = read_table(tables["series"], "series")
        folders = stand_ins.draw(folder / "drawn", series[series["series_uid"].isin(uids)], tables)
        stand_ins.write_index(folder / "index.parquet", folders)
        stand_ins.store(endpoint, folders)
        index = f'"{folder / "index.parquet"}"'
        config.write_text(
            CONFIG.format(endpoint=endpoint, index=index, budget=args.budget_gb, **values)
        )
        run(project, "results/plan_shards/shards.csv")
        plan = disk_plan(
            read_table(results / "plan_shards" / "shards.csv", "shard_plan"),
            concurrent=args.at_once,
        )
        is_over, seen = threading.Event(), []
        watcher = threading.Thread(target=watch, args=(results, is_over, seen))
        watcher.start()
        shards = [f"results/extract_cubes/shard{k:02d}.h5" for k in range(args.shards)]
        run(project, *shards)
        is_over.set()
        watcher.join()
        images, cubes, count = (max(column) for column in zip(*seen, strict=True))
        peak = max(a + b for a, b, _ in seen)
        print(f"{plan['num_series']} series of {plan['fetched_gb'] * 1e3:.0f} MB in {args.shards} "
              f"shards, {args.at_once} at once; {len(seen)} looks")  # fmt: skip
        print(f"planned peak {plan['peak_gb'] * 1e3:.0f} MB, budget {args.budget_gb * 1e3:.0f} MB")
        print(f"seen: {peak / 1e6:.0f} MB (images {images / 1e6:.0f} MB of {count} shards, "
              f"cubes {cubes / 1e6:.0f} MB); left at the end {taken(results)[0] / 1e6:.0f} MB of "
              "images")  # fmt: skip


if __name__ == "__main__":
    main()
