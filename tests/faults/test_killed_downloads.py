"""A run over three shards, killed at random moments, ends with the same cubes and nothing else.

Stand-ins lie under the index's own keys on a loopback S3 server. Killed is Snakemake, whose job
goes on alone, or a job. What follows is what `make run` does.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import psutil
import pytest
import stand_ins
from annotation_factory import real_tables
from s3_server import s3_server
from workflow_copy import copy_project

from quorum.tables import read_table

# One patient a shard of three, with thin slabs.
PATIENTS = ["LIDC-IDRI-0037", "LIDC-IDRI-0504", "LIDC-IDRI-0507"]
TARGETS = [f"results/extract_cubes/shard0{number}.h5" for number in range(3)]
MADE = ("download_series", "check_series", "extract_cubes")
CONFIG = """\
source: {{kind: idc, endpoint: "{endpoint}", index: "{index}", concurrent_shards: 1}}
select_nodules: {{num_patients: null, patients: {patients}}}
plan_shards: {{num_shards: 3}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project in which the three shards were made without a kill, its seconds and its content."""
    folder = tmp_path_factory.mktemp("killed")
    tables = real_tables()
    series = read_table(tables["series"], "series")
    series = series[series["patient_id"].isin(PATIENTS)]
    folders = stand_ins.draw(folder / "drawn", series, tables)
    stand_ins.write_index(folder / "index.parquet", folders)
    project = copy_project(folder / "project")
    with s3_server(5791) as endpoint:
        stand_ins.store(endpoint, folders)
        text = CONFIG.format(endpoint=endpoint, index=folder / "index.parquet", patients=PATIENTS)
        (project / "config" / "three.yaml").write_text(text)
        finish(project, ["results/plan_shards/shards.csv"])
        begun, on_disk, is_over = time.monotonic(), [], threading.Event()
        watcher = threading.Thread(target=watch_shards, args=(project, on_disk, is_over))
        watcher.start()
        finish(project)
        seconds = time.monotonic() - begun
        is_over.set()
        watcher.join()
        yield project, seconds, cubes_of(project), names_in(project), on_disk


def watch_shards(project, on_disk: list, is_over: threading.Event):
    """Note, some hundred times a second, how many shards have images on the disk."""
    results = project / "results"
    while not is_over.wait(0.005):
        published = {path.name for path in results.glob("download_series/shard0?")}
        coming = {path.name for path in results.glob(".partial/shard0?")}
        on_disk.append(len(published | coming))


def start(project, targets=TARGETS) -> subprocess.Popen:
    """Start what `make run` starts."""
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "scripts/run_workflow.py", *targets, "--configfile", "config/three.yaml"],
        cwd=project,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(project, targets=TARGETS) -> str:
    """Run to the end."""
    process = start(project, targets)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output[-4000:]
    return output


def kill_something(process, choose: random.Random) -> str:
    """Kill Snakemake or one of its jobs, whichever is there; return what was killed."""
    victims = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            words = child.cmdline()
            if "snakemake" in words[:3]:
                victims.append(("snakemake", child))
            elif len(words) > 1 and words[1].startswith("scripts/"):
                victims.append((words[1], child))
    if not victims:
        return ""
    name, victim = choose.choice(victims)
    with contextlib.suppress(psutil.Error):
        victim.send_signal(signal.SIGKILL)
        return name
    return ""


def cubes_of(project) -> dict:
    """Return every array of the three shards, by shard and name."""
    found = {}
    for target in TARGETS:
        with h5py.File(project / target) as shard:
            for name, data in shard.items():
                found[target, name] = data[()]
    return found


def names_in(project) -> set:
    """Return the names below the results folder, but for logs and timings."""
    results = project / "results"
    names = {str(path.relative_to(results)) for path in results.rglob("*")}
    return {name for name in names if not name.startswith(("logs", "benchmarks"))}


def kill_and_compare(finished, folder, *, num_kills: int, seed: int):
    """Kill runs at random moments; finish after every third, and compare."""
    project, seconds, cubes, names, _ = finished
    copy, choose, killed = folder / "project", random.Random(seed), []
    shutil.copytree(project, copy, symlinks=True)
    fresh(copy)
    while len(killed) < num_kills:
        process = start(copy)
        time.sleep(choose.uniform(0.1, 0.9) * seconds)
        if name := kill_something(process, choose):
            killed.append(name)
        process.communicate(timeout=600)
        if not name or len(killed) % 3 == 0 or len(killed) == num_kills:
            output = finish(copy)
            assert names_in(copy) == names, f"{killed}\n{output[-4000:]}"
            found = cubes_of(copy)
            assert found.keys() == cubes.keys()
            for key, values in cubes.items():
                equal_nan = values.dtype.kind == "f"
                assert np.array_equal(found[key], values, equal_nan=equal_nan), (key, killed)
            fresh(copy)
    print(f"{num_kills} kills: {killed}")


def fresh(copy):
    """Take away what the three shards made."""
    for name in MADE:
        shutil.rmtree(copy / "results" / name)


def test_three_random_kills_end_with_the_same_cubes(finished, tmp_path):
    kill_and_compare(finished, tmp_path, num_kills=3, seed=3)


@pytest.mark.slow
def test_thirty_random_kills_end_with_the_same_cubes(finished, tmp_path):
    kill_and_compare(finished, tmp_path, num_kills=30, seed=30)


def test_the_images_are_gone_and_the_bound_was_kept(finished):
    project, _, _, _, on_disk = finished
    assert not list((project / "results").rglob("*.dcm"))
    assert max(on_disk) == 1


def test_a_plan_made_again_with_the_same_shards_fetches_none_of_them(finished, tmp_path):
    """Their peak on the disk is an input of every download, and no reason for one."""
    shutil.copytree(finished[0], tmp_path / "project", symlinks=True)
    plan = tmp_path / "project" / "results" / "plan_shards" / "shards.csv"
    before = plan.stat().st_mtime_ns
    output = finish(tmp_path / "project", [*TARGETS, "--forcerun", "plan_shards"])
    assert plan.stat().st_mtime_ns > before
    assert "rule download_series:" not in output
