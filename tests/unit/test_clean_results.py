"""What no rule declares is removed; outputs of rules stay."""

import clean_results
import pytest

from quorum.errors import InputError
from quorum.locks import LOCKS

KEPT = (
    "extract_cubes/shard00.h5",
    "list_series/series.csv",
    "list_series/series.csv-metadata.json",
)
UNDECLARED = (
    ".checkpoints/unet3d/fold0_seed0/step10.pt",
    "download_series/.partial/1.2.3/a.dcm",
    "extract_cubes/.shard01.h5.123.tmp.h5",
    "write_report/.assets.99.tmp/a.js",
    "split_patients/splits.csv-metadata.json",
)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder with outputs of rules and with what a killed run left."""
    monkeypatch.chdir(tmp_path)
    for name in (*KEPT, *UNDECLARED):
        path = tmp_path / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path / "results"


def files_in(folder) -> set:
    """Return the files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_undeclared_files_go(results):
    clean_results.main([])
    assert files_in(results) == set(KEPT)
    assert not (results / ".checkpoints").exists()
    assert not (results / "download_series" / ".partial").exists()


def test_a_stale_lock_goes(results, tmp_path):
    (tmp_path / LOCKS).mkdir(parents=True)
    (tmp_path / LOCKS / "0.input.lock").write_text("results/a\n")
    clean_results.main([])
    assert not (tmp_path / LOCKS).exists()


def test_nothing_goes_while_a_run_is_at_work(results, monkeypatch):
    def refuse():
        raise InputError("Snakemake is at work", "one run", "wait")

    monkeypatch.setattr(clean_results, "refuse_live_run", refuse)
    with pytest.raises(InputError):
        clean_results.main([])
    assert files_in(results) == {*KEPT, *UNDECLARED}


def test_a_missing_results_folder_is_fine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean_results.main(["--results", "nowhere"])


def test_a_link_is_removed_and_not_what_it_points_to(results, tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "precious").write_text("x")
    (results / ".partial").symlink_to(target)
    clean_results.main([])
    assert (target / "precious").exists()
    assert not (results / ".partial").is_symlink()
