"""predict_ensemble: the mean of runs, on the locked test part, once the plan is frozen."""

import numpy as np
import predict_cubes
import pytest
from freeze_plan import main as freeze
from model_factory import ROOT, make_cohort
from predict_ensemble import joint_answer, main
from train_model import main as train

from quorum.errors import InputError
from quorum.frozen_plan import read_frozen_plan
from quorum.predictions import open_predictions


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two runs of a tiny network, two of a ball, and a frozen plan."""
    made = make_cohort(tmp_path_factory.mktemp("cohort"))
    runs = {"tiny": {"max_steps": 2, "postprocess": []}, "ball": {"method": "ball"}}
    for name, changes in runs.items():
        plan = made.plan(name, **changes)
        for fold in (0, 1):
            train(made.train_flags(plan, made.folder / f"{name}{fold}", fold=fold, seed=fold))
    plan, looks = ROOT / "config" / "analysis_plan.yaml", made.folder / "looks"
    out = made.folder / "frozen.json"
    freeze(["--plan", str(plan), "--looks", str(looks), "--out-plan", str(out)])
    return made


def flags_of(cohort, name, out, folds=(0, 1)):
    """Return the flags for an ensemble of the cohort's runs."""
    models = [str(cohort.folder / f"{name}{fold}" / "model.pt") for fold in folds]
    return [
        *("--plan", str(cohort.folder / f"{name}.yaml"), "--models", *models),
        *("--splits", str(cohort.splits), "--shards", *cohort.shards),
        *("--frozen-plan", str(cohort.folder / "frozen.json"), "--click-offsets-mm", "0", "4"),
        *("--flips", "False", "--seed", "0", "--out-predictions", str(out)),
    ]


def test_the_probability_is_the_mean_of_the_members_on_the_test_part(cohort, tmp_path, monkeypatch):
    # A member alone is not let near the test part; here it is asked what it adds.
    monkeypatch.setattr(predict_cubes, "check_part", lambda *_: None)
    for name in ("tiny", "ball"):
        out = tmp_path / f"{name}.h5"
        main(flags_of(cohort, name, out))
        members, thresholds = [], []
        for fold in (0, 1):
            folder = cohort.folder / f"{name}{fold}"
            flags = cohort.predict_flags(cohort.folder / f"{name}.yaml", folder, part="test")
            flags[flags.index("--flips") + 1] = "False"
            predict_cubes.main(flags)
            with open_predictions(folder / "predictions.h5") as found:
                members.append(found["probability"][()].astype(float))
                thresholds.append(found.attrs["threshold"])
        with open_predictions(out) as found:
            attributes = dict(found.attrs)
            share = found["probability"][()].astype(float)
            assert len(found["nodule_id"]) == 4  # two patients of two nodules
        assert (attributes["part"], attributes["fold"], attributes["seed"]) == ("test", -1, -1)
        assert attributes["num_members"] == 2
        assert attributes["seeds"].tolist() == [0, 1]
        assert attributes["data_kind"] == "phantom"
        frozen = read_frozen_plan(cohort.folder / "frozen.json")
        assert attributes["analysis_plan_sha256"] == frozen["plan_sha256"]
        assert attributes["threshold"] == pytest.approx(np.mean(thresholds))
        assert np.allclose(share, np.mean(members, axis=0), atol=1e-3)


def test_threshold_and_steps_are_the_members():
    answers = [
        {"threshold": 0.4, "postprocess": "component+holes"},
        {"threshold": 0.5, "postprocess": "component"},
        {"threshold": 0.6, "postprocess": "none"},
    ]
    assert joint_answer(answers) == {"threshold": pytest.approx(0.5), "postprocess": "component"}
    assert joint_answer(answers[1:])["postprocess"] == "none"  # half is no majority


def test_what_is_no_ensemble_of_this_experiment(cohort, tmp_path):
    out = tmp_path / "out.h5"
    with pytest.raises(InputError, match="named twice"):
        main(flags_of(cohort, "tiny", out, folds=(0, 0)))
    flags = flags_of(cohort, "tiny", out)
    flags[flags.index("--models") + 1] = str(cohort.folder / "ball0" / "model.pt")
    with pytest.raises(InputError, match="fitted for the experiment ball"):
        main(flags)
    assert not out.exists()


def test_nothing_of_the_test_part_is_predicted_before_the_plan_is_frozen(cohort, tmp_path):
    flags = flags_of(cohort, "ball", tmp_path / "out.h5")
    flags[flags.index("--frozen-plan") + 1] = str(tmp_path / "none.json")
    with pytest.raises(InputError, match="frozen plan"):
        main(flags)
    assert not any(tmp_path.iterdir())
