"""Bad configuration ends, before any job, in one sentence and a non-zero exit."""

import json

import pytest
from workflow_copy import snakemake


@pytest.mark.parametrize(
    ("setting", "phrases"),
    [
        ("selct_nodules={num_patients: 3}", ["'selct_nodules'", "'select_nodules'"]),
        ("select_nodules={num_patient: 3}", ["'num_patient'", "'num_patients'"]),
        ("experiments=[unet3]", ["'unet3'", "'unet3d'"]),
        ("consensus=mayority", ["'mayority'", "reader4"]),
        ("run_folds=[9]", ["[9]", "folds from 0 to 4"]),
        ("seeds=[0..4]", ["seeds"]),
        ("train_model={network: {chanels: [4]}}", ["'chanels'", "'channels'"]),
        ("train_model={network: {name: unet3}}", ["'unet3'", "'unet3d'"]),
        ("source={kind: local}", ["source.root is empty"]),
        ("source={kind: local, root: /nowhere}", ["'/nowhere' is no folder"]),
    ],
)
def test_one_sentence_names_the_key_and_what_was_expected(project, setting, phrases):
    result = snakemake(project, "--cores", "1", "--config", setting)
    assert result.returncode != 0
    errors = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stdout
    for phrase in (*phrases, "expected", "to mend it"):
        assert phrase in errors[0]
    assert "Traceback" not in result.stdout
    assert not (project / "results").exists()


def test_a_number_inside_a_block_on_the_command_line_is_a_number(project):
    result = snakemake(project, "-n", "--config", "plan_shards={num_shards: 3}")
    assert result.returncode == 0, result.stdout
    assert "shard02" in result.stdout
    assert "shard03" not in result.stdout


def test_results_of_another_source_are_refused_and_left_alone(project):
    results = project / "results"
    results.mkdir()
    marker = results / "source.json"
    marker.write_text(json.dumps({"kind": "local", "root": "/scans", "volumes": None}))
    before = marker.read_bytes()
    result = snakemake(project, "-n")
    assert result.returncode != 0
    assert "error: the folder results holds results of the source" in result.stdout
    assert "/scans" in result.stdout
    assert [path.name for path in results.iterdir()] == ["source.json"]
    assert marker.read_bytes() == before
    result = snakemake(project, "-n", "--config", "pathvars={results: other}")
    assert result.returncode == 0, result.stdout


def test_a_script_that_is_no_python_is_named(project):
    (project / "scripts" / "extract_cubes.py").write_text("def main(:\n")
    result = snakemake(project, "-n")
    assert result.returncode != 0
    assert "scripts/extract_cubes.py is no valid Python (line 1" in result.stdout
    assert "Traceback" not in result.stdout


def test_a_config_file_that_does_not_exist(project):
    result = snakemake(project, "-n", "--configfile", "config/none.yaml")
    assert result.returncode != 0
    assert "config/none.yaml" in result.stdout
