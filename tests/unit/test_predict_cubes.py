"""predict_cubes: the click, the crop, flips turned back, and nothing foreign accepted."""

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_factory import make_cohort, tiny_settings
from predict_cubes import main
from train_model import main as train

from quorum.clicks import click_points, crop_starts
from quorum.consensus import others_mask
from quorum.crf import crf_probability
from quorum.errors import InputError
from quorum.evaluation import (
    TEMPERATURES,
    choose_answer,
    crop_probability,
    flip_sets,
    others_references,
    pick_answer,
)
from quorum.postprocessing import choices, finish_mask, finish_share, nearest_component
from quorum.predictions import PredictionsWriter, open_predictions
from quorum.shards import open_shards
from quorum.stores import Store, load_store
from quorum.tables import read_table


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two small shards, a split, a trained tiny network and a ball."""
    made = make_cohort(tmp_path_factory.mktemp("cohort"))
    for name, changes in (("tiny", {}), ("ball", {"method": "ball"})):
        train(made.train_flags(made.plan(name, **changes), made.folder / f"run_{name}"))
    return made


def test_predictions_of_the_scored_fold_and_no_other(cohort):
    out = cohort.folder / "run_tiny"
    main(cohort.predict_flags(cohort.folder / "tiny.yaml", out, offsets=(0, 4)))
    cubes = open_shards(cohort.shards)
    with open_predictions(out / "predictions.h5") as found:
        ours = set(found["nodule_id"].asstr())
        expected = {
            i
            for i, p in zip(cubes.nodule_id, cubes.patient_id, strict=True)
            if p in ("TEST-0000", "TEST-0005")
        }
        assert ours == expected
        assert found["probability"].shape == (4, 2, 20, 40, 40)
        assert found["probability"].dtype == np.float16
        assert (found.attrs["part"], found.attrs["data_kind"]) == ("fold0", "phantom")
        assert 0.2 <= found.attrs["threshold"] <= 0.8
        for row in range(4):
            for column in range(2):
                z0, y0, x0, z1, y1, x1 = found["inside_crop"][row, column]
                assert (z1 - z0, y1 - y0, x1 - x0) == (16, 32, 32)
                share = found["probability"][row, column].copy()
                assert share.max() > 0
                share[z0:z1, y0:y1, x0:x1] = 0
                assert not share.any()
            steps = np.diff(found["click_zyx_vox"][row], axis=0)
            assert np.linalg.norm(steps) == pytest.approx(4)


@pytest.mark.parametrize("name", ["tiny", "ball"])
def test_gains_of_each_step_are_written_and_none_of_a_baseline(cohort, tmp_path, name):
    flags = cohort.predict_flags(cohort.folder / f"{name}.yaml", cohort.folder / f"run_{name}")
    main([*flags, "--out-gains", str(tmp_path / "gains.csv")])
    table = read_table(tmp_path / "gains.csv", "gains")
    steps = ["temperature", "flips", "threshold", "component", "holes"]
    assert table["step"].tolist() == (steps if name == "tiny" else [])
    assert set(table["experiment"]) <= {name}
    cubes = open_shards(cohort.shards)
    patients, is_whole = np.array(cubes.patient_id), ~np.array(cubes.is_truncated)
    scored = np.isin(patients, ["TEST-0000", "TEST-0005"]) & is_whole
    assert set(table["num_nodules"]) <= {scored.sum()}


def test_the_same_flags_give_the_same_predictions(cohort):
    plan, out = cohort.folder / "ball.yaml", cohort.folder / "run_ball"
    contents = []
    for _ in range(2):
        main(cohort.predict_flags(plan, out, offsets=(0,)))
        with open_predictions(out / "predictions.h5") as found:
            contents.append(found["probability"][()])
            assert found.attrs["method"] == "ball"
    assert np.array_equal(*contents)
    assert set(np.unique(contents[0])) == {0, 1}


def test_flips_are_turned_back():
    class Echo(torch.nn.Module):
        """Gives the image back as logits."""

        def forward(self, inputs):
            return inputs

    settings = tiny_settings()
    flips = flip_sets(["y", "x"])
    assert flips.tolist() == [
        [False, False, False],
        [False, False, True],
        [False, True, False],
        [False, True, True],
    ]

    class Images:
        shape_vox, coverage_box = (20, 40, 40), np.array([[0, 0, 0, 20, 40, 40]])
        num_readers, nodule_id, places = np.array([4]), ["a"], None
        generator = np.random.default_rng(0)
        content = generator.integers(-900, 300, shape_vox).astype(np.int16)

        def image(self, _):
            return self.content

        def readers(self, _):
            return np.zeros(self.shape_vox, np.uint8)

        def coverage(self, _):
            return np.ones(self.shape_vox, np.uint8)

    store = load_store(Images(), [0])
    options = {"starts": [[1, 2, 3], [4, 8, 8]], "settings": settings}
    plain, image = crop_probability(Echo(), store, flips=flips[:1], **options)
    turned, same_image = crop_probability(Echo(), store, flips=flips, **options)
    assert torch.allclose(plain, turned, atol=1e-6)
    assert torch.equal(image, same_image)
    assert torch.allclose(torch.sigmoid(image), plain, atol=1e-6)
    softer, _ = crop_probability(Echo(), store, flips=flips, temperature=2.0, **options)
    assert torch.allclose(softer, torch.sigmoid(image / 2), atol=1e-6)
    hu = Images.content[1:17, 2:34, 3:35]
    expected = torch.sigmoid(torch.from_numpy((hu + 1000) / 700 - 1).float())
    assert torch.allclose(plain[0], expected, atol=1e-6)


@given(st.integers(0, 10**6), st.text(min_size=1, max_size=9), st.integers(1, 15))
def test_a_click_is_at_its_distance_and_the_nodules_own(seed, nodule_id, bits):
    readers = np.zeros((21, 41, 41), np.uint8)
    readers[8:13, 18:23, 18:23] = bits
    options = {"nodule_id": nodule_id, "offsets_mm": [0, 2, 4], "seed": seed}
    points = click_points(readers, 4, **options)
    assert np.array_equal(points, click_points(readers, 4, **options))
    assert np.allclose(points[0], [10, 20, 20])
    distances = np.linalg.norm(points - points[0], axis=1)
    assert np.allclose(distances, [0, 2, 4])


def test_without_any_mask_the_click_is_the_cubes_centre():
    points = click_points(np.zeros((5, 7, 9), np.uint8), 4, nodule_id="a", offsets_mm=[0], seed=0)
    assert points.tolist() == [[2, 3, 4]]


@given(st.tuples(*(st.floats(-50, 150),) * 3))
def test_a_crop_stays_in_the_cube(point):
    start = crop_starts([point], (16, 32, 32), (20, 40, 40))[0]
    assert (start >= 0).all()
    assert (start <= (4, 8, 8)).all()


def test_a_crop_is_centred_on_the_click():
    assert crop_starts([[9.5, 19.5, 19.5]], (16, 32, 32), (20, 40, 40)).tolist() == [[2, 4, 4]]


def test_weights_of_another_network_another_plan_another_kind(cohort, tmp_path):
    out = cohort.folder / "run_tiny"
    with pytest.raises(InputError, match="ball"):
        main(cohort.predict_flags(cohort.folder / "ball.yaml", out))
    changed = cohort.plan("changed", network={"channels": [6, 8]})
    with pytest.raises(InputError, match="network"):
        main(cohort.predict_flags(changed, out))
    model = torch.load(out / "model.pt", weights_only=True)
    first = next(iter(model["weights"]))
    model["weights"][first] = model["weights"][first][:1]
    (tmp_path / "run").mkdir()
    torch.save(model, tmp_path / "run" / "model.pt")
    flags = cohort.predict_flags(cohort.folder / "tiny.yaml", tmp_path / "run")
    with pytest.raises(InputError, match="do not fit the network unet3d"):
        main(flags)
    real = make_cohort(tmp_path, data_kind="cut_out")
    flags = cohort.predict_flags(cohort.folder / "tiny.yaml", out)
    place = flags.index("--shards")
    flags[place + 1 : place + 3] = real.shards
    with pytest.raises(InputError, match="phantom"):
        main(flags)


def test_a_fold_that_the_model_has_seen_is_refused(cohort):
    flags = cohort.predict_flags(
        cohort.folder / "tiny.yaml", cohort.folder / "run_tiny", part="fold2"
    )
    with pytest.raises(InputError, match="which it has seen"):
        main(flags)


def test_the_locked_test_part_is_refused(cohort, tmp_path):
    for name in ("tiny", "ball"):
        plan, out = cohort.folder / f"{name}.yaml", cohort.folder / f"run_{name}"
        flags = [*cohort.predict_flags(plan, out, part="test")[:-1], str(tmp_path / "test.h5")]
        with pytest.raises(InputError, match="without a frozen analysis plan"):
            main(flags)
    assert not any(tmp_path.iterdir())


def test_nan_is_refused_and_nothing_is_left(cohort, tmp_path):
    model = torch.load(cohort.folder / "run_tiny" / "model.pt", weights_only=True)
    model["weights"] = {k: v * float("nan") for k, v in model["weights"].items()}
    torch.save(model, tmp_path / "model.pt")
    with pytest.raises(InputError, match="no probability"):
        main(cohort.predict_flags(cohort.folder / "tiny.yaml", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_the_component_nearest_to_the_click_is_kept():
    share = np.zeros((5, 9, 9), np.float32)
    share[2, 1:3, 1:3], share[2, 6:8, 6:8], share[0] = 0.9, 0.7, 0.2
    assert np.array_equal(nearest_component(share > 0.5, (2, 7, 7)), share == np.float32(0.7))
    options = {"choice": "component", "threshold": 0.5}
    kept = finish_share(share, None, point=(2, 0, 0), **options)
    assert set(np.unique(kept)) == {0, np.float32(0.2), np.float32(0.9)}
    assert kept[2, 6, 6] == 0
    assert not nearest_component(share > 0.95, (2, 7, 7)).any()


def shell(shape, center, radius, thickness):
    """Return a hollow ball and the full one: bool (z, y, x)."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance = np.linalg.norm(grid - np.array(center), axis=-1)
    return (distance <= radius) & (distance > radius - thickness), distance <= radius


def test_holes_are_filled_and_bays_are_not():
    hollow, full = shell((16, 20, 20), (8, 10, 10), 6, 2)
    assert np.array_equal(finish_mask(hollow, "holes", (8, 10, 10)), full)
    hollow[:, 10, 10:] = False  # a way out: a bay, no hole
    assert np.array_equal(finish_mask(hollow, "holes", (8, 10, 10)), hollow)
    assert not finish_mask(np.zeros((4, 4, 4), bool), "component+holes", (2, 2, 2)).any()


@given(st.floats(0.05, 0.95))
def test_what_is_filled_reaches_the_threshold_in_the_stored_precision_too(threshold):
    hollow, full = shell((9, 9, 9), (4, 4, 4), 3, 1)
    share = np.where(hollow, np.float32(0.99), np.float32(0.01))
    options = {"choice": "holes", "threshold": threshold, "point": (4, 4, 4)}
    found = finish_share(share, None, **options).astype(np.float16)
    assert np.array_equal(found >= threshold, full)


def test_choices_are_all_subsets_in_their_order():
    assert choices([]) == ["none"]
    assert choices(["holes", "component"]) == ["none", "component", "holes", "component+holes"]
    assert len(choices(["crf", "component", "holes"])) == 8


def test_the_random_field_smooths_and_follows_brightness():
    generator = np.random.default_rng(0)
    image = np.full((12, 24, 24), -0.8)
    image[:, :, 12:] = 0.2
    share = np.where(image > 0, 0.7, 0.3) + generator.normal(0, 0.15, image.shape)
    before = ((share >= 0.5) == (image > 0)).mean()
    found = crf_probability(share, image)
    assert before < 0.95
    assert ((found >= 0.5) == (image > 0)).mean() > 0.995
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1


def validation_store(truth, bright):
    """Return a store of cubes whose brightness is an answer."""
    image = torch.from_numpy(np.where(bright, 400, -1000).astype(np.int16))
    ones = torch.ones(image.shape, dtype=torch.uint8)
    names = [f"nodule{number}" for number in range(len(truth))]
    box = torch.tensor([[[0, 0, 0], [20, 40, 40]]] * len(truth))
    four = torch.tensor([4] * len(truth))
    return Store(names, image, ones, ones, None, torch.from_numpy(truth), box, four)


@pytest.mark.parametrize("wanted", ["none", "component", "holes", "component+holes"])
def test_post_processing_is_chosen_where_it_helps(wanted):
    truth = np.zeros((1, 20, 40, 40), bool)
    truth[0, 7:13, 17:23, 17:23] = True
    bright = truth.copy()
    if "holes" in wanted:
        bright[0, 9:11, 19:21, 19:21] = False
    if "component" in wanted:
        bright[0, 3:6, 8:11, 8:11] = True
    else:
        # The truth itself is in two parts: taking one of them away would cost.
        truth[0, 14:17, 18:22, 18:22] = bright[0, 14:17, 18:22, 18:22] = True
    if wanted in ("none", "component"):
        truth[0, 10, 20, 20] = bright[0, 10, 20, 20] = False  # a hole that is one
    flips = flip_sets(["x"])
    store, options = validation_store(truth, bright), {"flips": flips}
    found = choose_answer(lambda x: 5 * x, store, tiny_settings(), [0.4, 0.5], **options)
    assert found["temperature"] in TEMPERATURES
    for answer in found["answers"].values():
        assert answer["postprocess"] == wanted
        assert answer["validation_dice"] == 1
        assert min(answer["dice_by_postprocess"].values()) < 1
    # Flips that bring nothing are not used.
    assert pick_answer(found, has_flips=True)["is_flipped"] is False


def test_the_random_field_is_chosen_where_it_helps():
    """The network is wrong at scattered voxels of an image without noise."""
    truth = np.zeros((6, 20, 40, 40), bool)
    truth[:, 6:14, 14:26, 14:26] = True
    store, generator = validation_store(truth, truth), np.random.default_rng(0)
    wrong = torch.from_numpy(generator.random((16, 32, 32)) < 0.1)
    settings, flips = tiny_settings(postprocess=["crf", "component"]), flip_sets([])

    def predict(inputs):
        return torch.where(wrong, -1.0, 1.0) * inputs

    answer = choose_answer(predict, store, settings, [0.5], flips=flips)["answers"]["plain"]
    dice = answer["dice_by_postprocess"]
    assert set(dice) == {"none", "crf", "component", "crf+component"}
    assert answer["postprocess"] == "crf+component"
    assert dice["crf"] > dice["component"] + 0.02
    # What is predicted goes the same way.
    inside, image = torch.from_numpy(truth[0, 2:18, 4:36, 4:36]), torch.ones(16, 32, 32)
    image[~inside] = -1
    share = torch.sigmoid(predict(image)).numpy()
    options = {"choice": "crf", "threshold": 0.5, "point": (8, 16, 16)}
    found = finish_share(share, image.numpy(), **options) >= 0.5
    assert (found == inside.numpy()).mean() > 0.99 > ((share >= 0.5) == inside.numpy()).mean()


@pytest.mark.parametrize(
    ("num_worse", "wanted"),
    [pytest.param(1, "component", id="one nodule"), pytest.param(4, "none", id="every nodule")],
)
def test_post_processing_is_not_chosen_by_one_nodule(num_worse, wanted):
    """The component costs Dice in some of four nodules: where in one alone, that is chance."""
    truth = np.zeros((4, 20, 40, 40), bool)
    truth[:, 7:13, 17:23, 17:23] = True
    for number in range(num_worse):
        truth[number, 14:17, 18:22, 18 : 21 + number] = True
    store = validation_store(truth, truth)
    answer = choose_answer(lambda x: 5 * x, store, tiny_settings(), [0.5], flips=flip_sets([]))
    plain = answer["answers"]["plain"]
    dice = plain["dice_by_postprocess"]
    assert dice["none"] == 1
    assert dice["component"] < 1
    assert plain["postprocess"] == wanted
    assert plain["validation_dice"] == dice[wanted]


def test_a_fold_whose_masks_are_empty_has_an_answer_all_the_same():
    store = validation_store(*[np.zeros((2, 20, 40, 40), bool)] * 2)
    answer = choose_answer(lambda x: 5 * x, store, tiny_settings(), [0.5], flips=flip_sets([]))
    assert answer["answers"]["plain"]["postprocess"] == "component"


def test_the_others_are_the_majorities_without_each_reader(tmp_path):
    generator = np.random.default_rng(2)
    readers = generator.integers(0, 16, (3, 20, 40, 40), dtype=np.uint8)
    readers[1] &= 0b111
    readers[2] &= 0b1
    coverage = (generator.random(readers.shape) < 0.9).astype(np.uint8)
    counts = [4, 3, 1]
    store = validation_store(readers > 7, readers > 7)
    store.readers, store.coverage = torch.from_numpy(readers), torch.from_numpy(coverage)
    store.num_readers = torch.tensor(counts)
    found = others_references(store).numpy()
    assert found.shape == (3, 4, 20, 40, 40)
    for row, count in enumerate(counts[:2]):
        for reader in range(count):
            others = others_mask(readers[row], count, reader) & (coverage[row] > 0)
            assert np.array_equal(found[row, reader], others)
    assert not found[1, 3].any()
    assert np.array_equal(found[2, 0], store.reference[2].numpy())
    assert not found[2, 1:].any()


def test_the_threshold_is_chosen_for_what_the_mask_is_compared_with():
    """One of three readers drew a wide mask: without a narrow one, it is half of the others'."""
    readers = np.zeros((1, 20, 40, 40), np.uint8)
    readers[0, 4:16, 12:28, 12:28] = 0b001
    readers[0, 7:13, 17:23, 17:23] = 0b111
    bright = np.where(readers == 7, 400, np.where(readers > 0, -200, -1000)).astype(np.int16)
    store = validation_store(readers == 7, readers == 7)
    store.image, store.readers = torch.from_numpy(bright), torch.from_numpy(readers)
    store.num_readers = torch.tensor([3])
    found = {}
    for against in ("others", "consensus"):
        settings, options = tiny_settings(chosen_against=against), {"flips": flip_sets([])}
        answer = choose_answer(lambda x: 3 * x, store, settings, [0.4, 0.7], **options)
        found[against] = answer["answers"]["plain"]
    assert found["consensus"]["threshold"] == 0.7
    assert found["consensus"]["validation_dice"] == 1
    narrow, wide = (readers == 7).sum(), (readers > 0).sum()
    assert found["others"]["threshold"] == 0.4
    dice = (2 + 2 * narrow / (narrow + wide)) / 3
    assert found["others"]["validation_dice"] == pytest.approx(dice)


def test_the_temperature_undoes_what_is_too_sure():
    generator = np.random.default_rng(1)
    truth = np.zeros((1, 20, 40, 40), bool)
    truth[0, 7:13, 17:23, 17:23] = True
    bright = truth ^ (generator.random(truth.shape) < 0.1)
    store, options = validation_store(truth, bright), {"flips": flip_sets([])}
    sure = choose_answer(lambda x: 6 * x, store, tiny_settings(), [0.5], **options)
    unsure = choose_answer(lambda x: 2.2 * x, store, tiny_settings(), [0.5], **options)
    # One voxel of ten is wrong: the right logit is log(0.9 / 0.1) = 2.2.
    assert sure["temperature"] == 2.51
    assert unsure["temperature"] == 1.0
    entropy = sure["cross_entropy_by_temperature"]
    assert entropy["2.51"] < entropy["1.0"]
    assert "flips" not in sure["answers"]


def test_files_that_are_no_predictions(tmp_path):
    path = tmp_path / "predictions.h5"
    with pytest.raises(InputError, match="can't be read"):
        open_predictions(path)
    with h5py.File(path, "w") as file:
        file.attrs["schema"] = "quorum-shard"
    with pytest.raises(InputError, match="'quorum-shard'"):
        open_predictions(path)


def test_all_attributes_or_no_file(tmp_path):
    with pytest.raises(ValueError, match="attributes"):
        PredictionsWriter(tmp_path / "p.h5", {}, nodule_id=[], offsets_mm=[0], cube_vox=(2, 2, 2))
