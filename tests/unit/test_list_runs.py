"""list_runs: one row a run whatever its method, mean and spread of an experiment's runs."""

import json

import pandas as pd
import pytest
from list_runs import main

from quorum.errors import InputError
from quorum.tables import read_table


def record(folder, experiment, **changes):
    """Write a run's record and return its path."""
    plan = {
        "diff": {"batch_size": 2},
        "settings": {
            "method": "network",
            "network": {"name": "unet3d"},
            "target": "soft",
            "losses": {"dice": 1.0, "focal": 0.0},
        },
    }
    answers = {"plain": {"validation_dice": 0.70}, "flips": {"validation_dice": 0.75}}
    content = {
        **{"experiment": experiment, "fold": 0, "seed": 0, "data_kind": "phantom"},
        **{"num_parameters": 9, "num_steps": 6, "duration_s": 2.5, "training_s": 2.0},
        **{"total_duration_s": 4.5, "num_gpus": 0},
        "answer": {
            **{"validation_dice": 0.75, "threshold": 0.4, "postprocess": "component"},
            **{"temperature": 1.26, "is_flipped": True, "answers": answers},
            "dice_by_postprocess": {"none": 0.72, "component": 0.75},
        },
        "speed": {"precision": "bf16"},
        "hardware": {
            "processor": "a CPU",
            "gpu": None,
            "peak_memory_mb": 700,
            "peak_memory_children_mb": 300,
        },
        "git": {"commit": "abc", "is_changed": False},
        "made_by": {"code_digest": "0123"},
        "plan": plan,
        **changes,
    }
    path = folder / f"{experiment}_{content['fold']}_{content['seed']}.json"
    path.write_text(json.dumps(content))
    return path


def listed(tmp_path, paths):
    """Run the script on records; return both tables."""
    out = [tmp_path / "runs.csv", tmp_path / "spread.csv"]
    flags = ["--out-runs", str(out[0]), "--out-spread", str(out[1])]
    main(["--records", *map(str, paths), *flags])
    return read_table(out[0], "runs"), read_table(out[1], "run_spread")


def test_a_row_holds_what_the_run_was_and_what_each_step_gained(tmp_path):
    runs, spread = listed(tmp_path, [record(tmp_path, "a")])
    row = runs.iloc[0]
    assert (row["network"], row["losses"], row["precision"]) == ("unet3d", "dice:1", "bf16")
    assert (row["duration_s"], row["total_duration_s"], row["num_gpus"]) == (2.5, 4.5, 0)
    assert (row["peak_memory_mb"], row["peak_memory_children_mb"]) == (700, 300)
    assert pd.isna(row["gpu_peak_memory_mb"])
    assert row["gain_flips"] == pytest.approx(0.05)
    assert row["gain_postprocess"] == pytest.approx(0.03)
    assert json.loads(row["diff"]) == {"batch_size": 2}
    assert spread["validation_dice_sd"].isna().all()


def test_the_spread_is_over_an_experiments_runs(tmp_path):
    answer = {"validation_dice": 0.65, "dice_by_postprocess": {"none": 0.65}}
    other = record(tmp_path, "a", fold=1, seed=2, answer=answer)
    runs, spread = listed(tmp_path, [record(tmp_path, "a"), other, record(tmp_path, "b")])
    assert len(runs) == 3
    row = spread.set_index("experiment").loc["a"]
    assert (row["num_runs"], row["num_folds"], row["num_seeds"]) == (2, 2, 2)
    assert row["validation_dice_mean"] == pytest.approx(0.7)
    assert row["validation_dice_sd"] == pytest.approx(0.1 / 2**0.5)


def test_a_baseline_has_a_row_too(tmp_path):
    path = record(tmp_path, "ball", answer={}, speed={})
    content = json.loads(path.read_text())
    content["plan"]["settings"]["method"] = "ball"
    path.write_text(json.dumps(content))
    runs, spread = listed(tmp_path, [path])
    assert runs["method"].tolist() == ["ball"]
    assert runs[["network", "validation_dice", "is_flipped"]].isna().all(axis=None)
    assert spread["validation_dice_mean"].isna().all()


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_files_that_are_no_record(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"record\.json"):
        listed(tmp_path, [path])
