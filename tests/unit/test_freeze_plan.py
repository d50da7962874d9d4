"""freeze_plan: stored before the test part is looked at, and no other plan afterwards."""

import json
from pathlib import Path

import pytest
import yaml
from freeze_plan import main

from quorum.errors import InputError
from quorum.frozen_plan import log_look, plan_digest, read_frozen_plan, read_looks, read_plan
from quorum.tables import write_table

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "config" / "analysis_plan.yaml"


def freeze(folder, plan=PLAN):
    """Freeze a plan and return the path of what was stored."""
    out = folder / "plan.json"
    main(["--plan", str(plan), "--looks", str(folder / "looks"), "--out-plan", str(out)])
    return out


def changed_plan(folder, **changes):
    """Write the plan with changes and return its path."""
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(PLAN.read_text()), **changes}))
    return path


def look(folder, name="unet3d"):
    """Look at the test part once."""
    predictions = folder / "ensemble.h5"
    predictions.write_bytes(b"predictions")
    frozen = read_frozen_plan(folder / "plan.json")
    log_look(folder / "looks", name, predictions=predictions, plan=frozen)


def test_the_plan_is_stored_with_its_digest_and_time(tmp_path):
    frozen = read_frozen_plan(freeze(tmp_path))
    assert frozen["plan"] == yaml.safe_load(PLAN.read_text())
    assert frozen["plan_sha256"] == plan_digest(frozen["plan"])
    assert frozen["frozen_utc"] < "2100"
    assert frozen["plan"]["margin_dice"] == 0.03
    assert frozen["plan"]["resamples"] >= 2000


def test_an_edited_comment_is_the_same_plan_and_a_margin_is_not(tmp_path):
    same = tmp_path / "same.yaml"
    same.write_text("# another comment\n" + PLAN.read_text())
    digest = plan_digest(read_plan(PLAN))
    assert plan_digest(read_plan(same)) == digest
    assert plan_digest(read_plan(changed_plan(tmp_path, margin_dice=0.05))) != digest


def test_after_a_look_only_the_same_plan_is_frozen_again(tmp_path):
    freeze(tmp_path)
    look(tmp_path)
    freeze(tmp_path)
    with pytest.raises(InputError, match="looked at 1 times under another analysis plan"):
        freeze(tmp_path, changed_plan(tmp_path, margin_dice=0.05))
    assert read_frozen_plan(tmp_path / "plan.json")["plan"]["margin_dice"] == 0.03


def test_every_look_is_kept(tmp_path):
    freeze(tmp_path)
    assert len(read_looks(tmp_path / "looks")) == 0
    look(tmp_path)
    look(tmp_path, "ball")
    look(tmp_path)
    looks = read_looks(tmp_path / "looks")
    assert looks["experiment"].tolist() == ["unet3d", "ball", "unet3d"]
    assert (looks["frozen_utc"] <= looks["time_utc"]).all()
    write_table(looks, tmp_path / "looks.csv", "looks", {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"margin_dice": 0.5}, "0.5 at margin_dice"),
        ({"resamples": 100}, "at least 2000"),
        ({"margn": 0.1}, "'margn'"),
        ({"min_seeds": 1}, "at least 3"),
    ],
)
def test_a_bad_plan(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        freeze(tmp_path, changed_plan(tmp_path, **changes))
    assert not (tmp_path / "plan.json").exists()


def test_no_plan_a_broken_one_and_an_edited_one(tmp_path):
    with pytest.raises(InputError, match="without a frozen analysis plan"):
        read_frozen_plan(None)
    with pytest.raises(InputError, match="can't be read"):
        freeze(tmp_path, tmp_path / "missing.yaml")
    stored = freeze(tmp_path)
    content = json.loads(stored.read_text())
    content["plan"]["margin_dice"] = 0.1
    stored.write_text(json.dumps(content))
    with pytest.raises(InputError, match="another digest"):
        read_frozen_plan(stored)
    stored.write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        read_frozen_plan(stored)
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "a.json").write_text("{}")
    with pytest.raises(InputError, match="no look at the test part"):
        read_looks(tmp_path / "looks")
    with pytest.raises(InputError, match="without a log"):
        log_look(None, "unet3d", predictions=stored, plan={})
