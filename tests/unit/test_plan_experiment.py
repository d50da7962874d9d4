"""plan_experiment: a plan is whole and can work, or nothing is trained."""

import json

import pytest
import yaml
from model_factory import tiny_settings
from plan_experiment import main

from quorum.closed_schema import load_yaml
from quorum.errors import InputError
from quorum.plans import check_cube, make_plan, read_plan, run_parts


def test_the_plan_holds_the_settings_whole_and_reads_back(tmp_path):
    out, settings = tmp_path / "plan.yaml", tiny_settings()
    flags = ["--experiment", "tiny", "--settings", json.dumps(settings), "--consensus", "0.75"]
    main([*flags, "--diff", '{"batch_size": 2}', "--out-plan", str(out)])
    assert yaml.safe_load(out.read_text()) == read_plan(out)
    expected = {"name": "tiny", "consensus": 0.75, "settings": settings}
    assert read_plan(out) == {**expected, "diff": {"batch_size": 2}}


def test_every_experiment_of_the_repository_has_a_plan(root):
    from quorum.settings import experiment_settings

    config = load_yaml(root / "config" / "config.yaml")
    names = [path.stem for path in (root / "config" / "experiments").glob("*.yaml")]
    assert {"unet3d", "threshold", "ball"} <= set(names)
    for name in names:
        make_plan(name, experiment_settings(config, name), "majority")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": {"name": "unet3"}}, "'unet3d'"),
        ({"network": {"chanels": [4, 8]}}, "'channels'"),
        ({"losses": {"dise": 1.0}}, "'dice'"),
        ({"losses": {"dice": 0.0, "cross_entropy": 0.0}}, "no loss"),
        ({"max_step": 3}, "'max_steps'"),
        ({"target": "majorty"}, "majority"),
        ({"method": "baal"}, "ball"),
        ({"optimizer": {"name": "adam"}}, "adamw"),
        ({"crop_vox": [15, 32, 32]}, "multiples of [2, 2, 2]"),
        ({"training_crop_vox": [16, 32, 34]}, "larger than"),
        ({"network": {"strides": [2, 2]}}, "one stride fewer"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(changes, message):
    with pytest.raises(InputError) as caught:
        make_plan("tiny", tiny_settings(**changes), "majority")
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("network", "crops", "message"),
    [
        ({"name": "unet3d_maxpool"}, ([16, 16, 16], None), "one voxel on the deepest level"),
        ({"name": "swin_unetr"}, ([64, 64, 64], [32, 32, 32]), "one voxel on the deepest level"),
        ({"name": "unetr"}, ([32, 64, 80], None), "its image_vox, [32, 64, 64]"),
        ({"name": "unetr"}, ([32, 64, 64], [16, 64, 64]), "its image_vox, [32, 64, 64]"),
    ],
)
def test_crops_that_a_network_cannot_use_are_refused(network, crops, message):
    settings = tiny_settings(crop_vox=crops[0], training_crop_vox=crops[1])
    with pytest.raises(InputError) as caught:
        make_plan("crops", {**settings, "network": network}, "majority")
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("network", "crop_vox"),
    [
        ({"name": "unet3d_maxpool"}, [16, 16, 32]),
        ({"name": "fcn"}, [32, 32, 32]),
        ({"name": "unetr", "image_vox": [16, 32, 32]}, [16, 32, 32]),
    ],
)
def test_crops_that_a_network_can_just_use_are_taken(network, crop_vox):
    plan = make_plan("crops", {**tiny_settings(crop_vox=crop_vox), "network": network}, "majority")
    assert plan["settings"]["crop_vox"] == crop_vox


def test_settings_that_are_no_json_object(tmp_path):
    for text in ("{", "[1]"):
        flags = ["--experiment", "tiny", "--settings", text, "--consensus", "majority"]
        with pytest.raises(InputError, match="no JSON"):
            main([*flags, "--out-plan", str(tmp_path / "plan.yaml")])
    assert not (tmp_path / "plan.yaml").exists()


def test_a_crop_larger_than_the_cube_is_refused():
    with pytest.raises(InputError, match="larger than the cube"):
        check_cube(tiny_settings(), (16, 32, 31))
    check_cube(tiny_settings(), (16, 32, 32))


def test_parts_of_a_run_cover_all_folds_once_and_never_the_test_part():
    for fold in range(5):
        parts = run_parts(fold, 5)
        assert parts["score"] == [f"fold{fold}"]
        assert parts["validate"] == [f"fold{(fold + 1) % 5}"]
        everything = [name for names in parts.values() for name in names]
        assert sorted(everything) == [f"fold{k}" for k in range(5)]


@pytest.mark.parametrize(("fold", "num_folds"), [(5, 5), (-1, 5), (0, 2)])
def test_folds_that_do_not_exist(fold, num_folds):
    with pytest.raises(InputError, match="at least 3 folds"):
        run_parts(fold, num_folds)


@pytest.mark.parametrize("content", ["", "a: [", "name: x"])
def test_files_that_are_no_plan(tmp_path, content):
    path = tmp_path / "plan.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=r"plan\.yaml"):
        read_plan(path)
    with pytest.raises(InputError, match="can't be read"):
        read_plan(tmp_path / "missing.yaml")
