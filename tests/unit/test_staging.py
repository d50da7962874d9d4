"""Shards on a node's own disk: copies that hold the same and go again, or none."""

import os
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from quorum import staging
from quorum.settings import ROOT
from quorum.shards import open_shards


@pytest.fixture
def node(tmp_path, monkeypatch, caplog):
    """A node's own folder, and what is to be done when the process ends."""
    caplog.set_level("INFO", logger="quorum")
    folder, ends = tmp_path / "node", []
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(
        staging.atexit, "register", lambda end, *args, **more: ends.append((end, args, more))
    )
    return folder, ends


def test_copies_hold_the_same_and_go_at_the_end(cohort, node, caplog):
    folder, ends = node
    cubes = open_shards(cohort.shards)
    near = staging.near_cubes(cubes)
    assert len(near.paths) == len(cohort.shards)
    assert all(path.startswith(str(folder)) for path in near.paths)
    for k in (0, len(cubes) - 1):
        np.testing.assert_array_equal(near.image(k), cubes.image(k))
        np.testing.assert_array_equal(near.readers(k), cubes.readers(k))
    assert cubes.paths == [str(path) for path in cohort.shards]
    assert [record.message.startswith("2 shards, ") for record in caplog.records] == [True]
    ((end, args, more),) = ends
    end(*args, **more)
    assert list(folder.iterdir()) == []


def test_nothing_is_copied_without_a_folder_of_the_nodes_own(cohort, monkeypatch, tmp_path):
    cubes = open_shards(cohort.shards)
    for value in ("/tmp", "/tmp/", str(tmp_path / "missing")):
        monkeypatch.setenv("TMPDIR", value)
        assert staging.near_cubes(cubes) is cubes
    monkeypatch.delenv("TMPDIR")
    assert staging.near_cubes(cubes) is cubes


def test_a_full_disk_is_left_alone(cohort, node, monkeypatch, caplog):
    folder, _ = node
    cubes = open_shards(cohort.shards)
    size = sum(os.path.getsize(path) for path in cubes.paths)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(staging.shutil, "disk_usage", lambda folder: usage(size * 1.05))
    assert staging.near_cubes(cubes) is cubes
    assert list(folder.iterdir()) == []
    assert "are free in" in caplog.text


@pytest.mark.parametrize("name", ["node", "a_path_too_long_for_a_socket_" * 4])
def test_a_training_that_streams_reads_the_copies_and_leaves_none(cohort, tmp_path, name):
    plan, node = cohort.plan("near", max_steps=1), tmp_path / name
    node.mkdir()
    flags = [*cohort.train_flags(plan, tmp_path / "run"), "--loading", "workers"]
    words = [sys.executable, ROOT / "scripts" / "train_model.py", *flags]
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, "TMPDIR": str(node)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert f"copied to {node}" in done.stdout
    assert (tmp_path / "run" / "model.pt").is_file()
    assert not list(node.glob("quorum_shards_*"))
