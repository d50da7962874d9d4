"""Activation maps: known answers on networks made by hand, and the script on a tiny run."""

import shutil

import explain_predictions
import h5py
import numpy as np
import predict_cubes
import pytest
import torch
import train_model
from model_factory import SHAPE, make_cohort

from quorum.errors import InputError
from quorum.explaining import (
    cam,
    coarsest_layer,
    explain_crop,
    grad_cam,
    occlusion,
    occlusion_box,
    plain_head,
    randomised,
    similarity,
)
from quorum.explanation_files import read_explanations
from quorum.tables import read_table

SIZE = (16, 16, 16)


class Looker(torch.nn.Module):
    """Halves its input, and has a plain head: its logit is its input, smoothed."""

    def __init__(self):
        super().__init__()
        self.down = torch.nn.Conv3d(1, 1, 2, stride=2, bias=False)
        self.up = torch.nn.Upsample(scale_factor=2)
        self.head = torch.nn.Conv3d(1, 1, 1)
        torch.nn.init.constant_(self.down.weight, 1 / 8)
        torch.nn.init.ones_(self.head.weight)
        torch.nn.init.constant_(self.head.bias, -3.0)

    def forward(self, inputs):
        """Return logits."""
        return self.head(self.up(self.down(inputs)))


def spot() -> tuple:
    """Return an image of one bright cube, and where it is."""
    mask = np.zeros(SIZE, bool)
    mask[4:8, 4:8, 8:12] = True
    return torch.as_tensor(mask, dtype=torch.float32)[None, None], mask


def test_every_map_is_highest_on_the_spot_that_makes_the_logit():
    inputs, mask = spot()
    found = explain_crop(
        Looker().eval(), inputs, mask, methods=("grad_cam", "cam", "occlusion"), patch_vox=(4, 4, 4)
    )
    assert sorted(found) == ["cam", "grad_cam", "occlusion"]
    for name, values in found.items():
        assert values.shape == SIZE, name
        assert values.min() >= 0, name
        # Nothing outside of the spot raises the logit; a patch may reach over its rim.
        near = np.zeros(SIZE, bool)
        near[1:11, 1:11, 5:15] = True
        assert values[~near].max() <= 1e-6, name
        assert values[5:7, 5:7, 9:11].min() > 0.5 * values.max(), name


def test_the_plain_heads_map_is_the_logit_without_its_bias():
    inputs, mask = spot()
    network = Looker().eval()
    assert plain_head(network, inputs) == "head"
    assert coarsest_layer(network, inputs) == "down"
    with torch.no_grad():
        logit = network(inputs)[0, 0].numpy()
    assert np.allclose(cam(network, inputs, mask), np.maximum(logit + 3.0, 0), atol=1e-5)


def test_a_network_without_a_plain_head_has_no_class_activation_map():
    inputs, mask = spot()
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 1, 3, padding=1)).eval()
    assert plain_head(network, inputs) is None
    assert cam(network, inputs, mask) is None
    found = explain_crop(network, inputs, mask, methods=("cam", "grad_cam"), patch_vox=(4, 4, 4))
    assert list(found) == ["grad_cam"]


def test_occlusion_tells_by_how_much_the_logit_falls():
    inputs, mask = spot()
    values = occlusion(Looker().eval(), inputs, mask, np.array([4, 4, 4]))
    # Patches are 4 voxels wide and begin 3 voxels before the spot, so none hides all of it: the
    # mean logit over the spot is 1 above the bias, and a patch takes less than that away.
    assert 0.05 < values.max() < 1.0
    box = occlusion_box(mask, np.array([4, 4, 4]))
    assert box == (slice(2, 10), slice(2, 10), slice(6, 14))
    assert values.sum() == pytest.approx(values[box].sum())


def test_a_spot_at_the_edge_is_explained_too():
    mask = np.zeros(SIZE, bool)
    mask[0:3, 13:16, 13:16] = True
    inputs = torch.as_tensor(mask, dtype=torch.float32)[None, None]
    values = occlusion(Looker().eval(), inputs, mask, np.array([8, 8, 8]))
    assert values[0, 15, 15] > 0
    assert grad_cam(Looker().eval(), inputs, mask)[0, 15, 15] > 0


def test_weights_are_drawn_from_the_output_backwards():
    network, fresh = Looker().eval(), Looker().eval()
    torch.nn.init.constant_(fresh.head.weight, 5.0)
    torch.nn.init.constant_(fresh.down.weight, 5.0)
    half, whole = randomised(network, fresh, 0.5), randomised(network, fresh, 1.0)
    assert float(half.head.weight.detach().max()) == 5.0
    assert torch.equal(half.down.weight, network.down.weight)
    assert torch.equal(whole.down.weight, fresh.down.weight)
    assert float(network.head.weight.detach().max()) == 1.0


def test_similarity_of_equal_opposite_and_flat_maps():
    values = np.random.default_rng(0).random(SIZE).astype(np.float32)
    assert similarity(values, values) == pytest.approx({"spearman": 1.0, "ssim": 1.0}, abs=1e-4)
    opposite = similarity(values, values.max() - values)
    assert opposite["spearman"] == pytest.approx(-1.0)
    assert opposite["ssim"] < 0.2
    assert np.isnan(similarity(values, np.zeros(SIZE))["spearman"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny network, trained for a moment and applied; with its cohort and flags."""
    folder = tmp_path_factory.mktemp("explained")
    cohort = make_cohort(folder)
    plan, out = cohort.plan("tiny"), folder / "run"
    train_model.main(cohort.train_flags(plan, out))
    predict_cubes.main(cohort.predict_flags(plan, out))
    # A moment's training draws little: everything that is not surely outside is its answer here.
    with h5py.File(out / "predictions.h5", "r+") as file:
        file.attrs["threshold"] = float(np.median(file["probability"][0, 0]))
    return cohort, plan, out


def flags(run, **changes) -> list:
    """Return the script's flags."""
    cohort, plan, out = run
    given = {
        "--plan": [plan], "--model": [out / "model.pt"], "--predictions": [out / "predictions.h5"],
        "--shards": cohort.shards, "--num-nodules": [2],
        "--methods": ["grad_cam", "cam", "occlusion"],
        "--patch-vox": [8, 8, 8], "--seed": [0],
        "--out-maps": [out / "maps.h5"], "--out-sanity": [out / "sanity.csv"],
    } | changes  # fmt: skip
    return [str(word) for name, words in given.items() for word in (name, *words)]


def test_a_run_is_explained_with_its_sanity_check(run):
    explain_predictions.main(flags(run))
    maps = read_explanations(run[2] / "maps.h5")
    assert maps.methods == ["grad_cam", "occlusion"], "unet3d has no plain head"
    assert len(maps.nodule_id) == 2
    assert maps.data_kind == "phantom"
    pairs = dict(maps.of_nodule(maps.nodule_id[0]))
    assert list(pairs) == [
        "Grad-CAM, tiny", "Grad-CAM, tiny, drawn weights",
        "occlusion, tiny", "occlusion, tiny, drawn weights",
    ]  # fmt: skip
    for values in pairs.values():
        assert values.shape == SHAPE
        assert 0 <= values.min() <= values.max() <= 1
    assert maps.of_nodule("another") == []
    sanity = read_table(run[2] / "sanity.csv", "explanation_sanity")
    assert set(sanity["data_kind"]) == {"phantom"}
    for name, shares in {"grad_cam": [0.25, 0.5, 0.75, 1.0], "occlusion": [1.0]}.items():
        rows = sanity[(sanity["method"] == name) & (sanity["nodule_id"] == maps.nodule_id[0])]
        assert sorted(rows["randomised_share"]) == shares
    assert sanity["spearman"].dropna().between(-1, 1).all()


def test_the_same_seed_gives_the_same_maps(run):
    again = run[2] / "again.h5"
    explain_predictions.main(flags(run, **{"--methods": ["grad_cam"], "--out-maps": [again]}))
    first = run[2] / "first.h5"
    explain_predictions.main(flags(run, **{"--methods": ["grad_cam"], "--out-maps": [first]}))
    with h5py.File(again) as one, h5py.File(first) as other:
        assert np.array_equal(one["map"][()], other["map"][()])
        assert np.array_equal(one["random"][()], other["random"][()])


def test_a_network_that_drew_nothing_gives_an_empty_file(run, tmp_path):
    path = shutil.copy(run[2] / "predictions.h5", tmp_path / "empty.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["threshold"] = 2.0
    out = tmp_path / "maps.h5"
    explain_predictions.main(flags(run, **{
        "--predictions": [path], "--out-maps": [out], "--out-sanity": [tmp_path / "s.csv"],
    }))  # fmt: skip
    assert read_explanations(out).nodule_id == []
    assert len(read_table(tmp_path / "s.csv", "explanation_sanity")) == 0


def test_predictions_of_another_run_are_refused(run, tmp_path):
    path = shutil.copy(run[2] / "predictions.h5", tmp_path / "other.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["seed"] = 7
    with pytest.raises(InputError, match="one run"):
        explain_predictions.main(flags(run, **{"--predictions": [path]}))


def test_a_baseline_has_nothing_to_explain(run):
    cohort, _, out = run
    plan, baseline = cohort.plan("threshold", method="threshold"), out.parent / "baseline"
    train_model.main(cohort.train_flags(plan, baseline))
    with pytest.raises(InputError, match="is no network"):
        explain_predictions.main(
            flags(run, **{"--plan": [plan], "--model": [baseline / "model.pt"]})
        )


def test_a_file_that_is_no_explanation_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="quorum-explanations"):
        read_explanations(run[2] / "predictions.h5")
    with pytest.raises(InputError, match="can't be read"):
        read_explanations(tmp_path / "missing.h5")
