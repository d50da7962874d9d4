"""A bundle gives what the run's own prediction gives; ONNX gives what PyTorch gives."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import export_model
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
import train_model
from model_factory import make_cohort

from quorum.errors import InputError
from quorum.networks import network_names
from quorum.onnx_export import fresh_network
from quorum.shards import open_shards

# Largest difference of a logit between onnxruntime and PyTorch: float32 sums in another order.
# highresnet's logits are largest; measured 1.7e-4.
MOST_DIFFERENCE = 1e-3
WITHOUT_ONNX = {"pspnet": "_adaptive_avg_pool3d"}
# Unpooling by indices jumps where two voxels of a window are equal but for rounding.
JUMPS = {"segnet"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A results folder with one trained tiny network and a baseline."""
    folder = tmp_path_factory.mktemp("export")
    cohort = make_cohort(folder)
    for name, changes in (("tiny", {}), ("threshold", {"method": "threshold"})):
        out = folder / "results" / "train_model" / name / "fold0_seed0"
        out.mkdir(parents=True)
        train_model.main(cohort.train_flags(cohort.plan(name, **changes), out))
    return cohort


@pytest.fixture(scope="module")
def bundle(run):
    """The tiny network's bundle."""
    path = run.folder / "bundle"
    export_model.main([*flags(run.folder / "results", "tiny"), "--out-bundle", str(path)])
    return path


def flags(results, experiment, *more) -> list:
    """Return the script's flags."""
    return ["--results", str(results), "--experiment", experiment, *more]


def run_bundle(bundle: Path, image: Path, point, out: Path) -> Path:
    """Run a bundle as its page says, in a process that knows nothing of this project."""
    words = [sys.executable, "-m", "monai.bundle", "run"]
    words += ["--config_file", "configs/inference.json", "--image", str(image)]
    words += ["--point_lps_mm", json.dumps(list(point)), "--output_dir", str(out)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        words, cwd=bundle, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return next(out.glob("*.nii.gz"))


def test_a_bundle_holds_its_parts_and_says_what_it_was_trained_on(bundle):
    names = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert {
        "configs/inference.json",
        "configs/metadata.json",
        "models/model.pt",
        "models/model.onnx",
        "docs/README.md",
        "docs/onnx.json",
        "scripts/quorum/networks/unet3d.py",
        "LICENSE",
    } <= names
    assert not any("vnet" in name for name in names)
    notes = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert "PHANTOM" in notes["name"]
    assert "PHANTOM" in (bundle / "docs" / "README.md").read_text()
    onnx = json.loads((bundle / "docs" / "onnx.json").read_text())
    assert 0 < onnx["max_difference_logit"] < MOST_DIFFERENCE
    assert onnx["speed_ratio"] > 0


def test_a_bundle_runs_by_itself_and_draws_what_the_model_draws(run, bundle, tmp_path):
    """The cube lies on the bundle's own grid; stored from right to left, its mask is the same."""
    from quorum.evaluation import crop_probability, flip_sets
    from quorum.models import read_model
    from quorum.postprocessing import finish_share
    from quorum.stores import load_store

    model = read_model(run.folder / "results" / "train_model" / "tiny" / "fold0_seed0" / "model.pt")
    cubes = open_shards(run.shards)
    settings, middle = model["settings"], np.array([9.5, 19.5, 19.5])
    store = load_store(cubes, [0])
    start = np.round(middle - (np.array(settings["crop_vox"]) - 1) / 2).astype(int)
    network = export_model.load_network(model)
    share, seen = crop_probability(
        network.network,
        store,
        starts=start[None],
        settings=settings,
        flips=flip_sets([]),
        temperature=model.get("temperature", 1.0),
    )
    words = {"choice": model["postprocess"], "threshold": model["threshold"]}
    share = finish_share(share[0].numpy(), seen[0].numpy(), point=middle - start, **words)
    expected = np.zeros(cubes.shape_vox, bool)
    window = tuple(slice(a, a + n) for a, n in zip(start, share.shape, strict=True))
    expected[window] = share >= model["threshold"]
    assert 0 < expected.sum() < expected.size / 2

    image = sitk.GetImageFromArray(cubes.image(0))
    image.SetOrigin(cubes.origin_lps_mm[0])
    point = cubes.origin_lps_mm[0] + middle[::-1]
    sitk.WriteImage(sitk.Flip(image, (True, True, False)), str(tmp_path / "scan.nii.gz"))
    path = run_bundle(bundle, tmp_path / "scan.nii.gz", point, tmp_path / "out")
    mask = sitk.Resample(
        sitk.ReadImage(str(path)), image, sitk.Transform(), sitk.sitkNearestNeighbor
    )
    mask = sitk.GetArrayFromImage(mask) > 0
    assert (mask != expected).mean() < 1e-4


def test_the_weights_of_a_bundle_are_those_of_the_run(run, bundle):
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    path = run.folder / "results" / "train_model" / "tiny" / "fold0_seed0" / "model.pt"
    model = torch.load(path, weights_only=True)["weights"]
    assert {f"network.{name}" for name in model} == set(weights)
    assert all(torch.equal(weights[f"network.{name}"], value) for name, value in model.items())


@pytest.mark.parametrize(
    ("experiment", "more", "phrase"),
    [
        ("unet", (), "holds no experiment 'unet'; expected one of ['threshold', 'tiny']"),
        ("tiny", ("--fold", "3"), "there are ['fold0_seed0']"),
        ("threshold", (), "is the baseline threshold"),
    ],
)
def test_what_is_missing_is_said(run, tmp_path, experiment, more, phrase):
    with pytest.raises(InputError) as error:
        words = flags(run.folder / "results", experiment, *more)
        export_model.main([*words, "--out-bundle", str(tmp_path / "b")])
    assert phrase in str(error.value)
    assert not (tmp_path / "b").exists()


def test_a_model_of_other_code_or_another_network_is_refused(run, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(run.folder / "results", results)
    out = results / "train_model" / "tiny" / "fold0_seed0"
    record = json.loads((out / "record.json").read_text())
    record["made_by"]["code_digest"] = "0" * 16
    (out / "record.json").write_text(json.dumps(record))
    words = [*flags(results, "tiny"), "--out-bundle", str(tmp_path / "b")]
    with pytest.raises(InputError, match="trained by other code"):
        export_model.main(words)
    model = torch.load(out / "model.pt", weights_only=True)
    model["weights"].popitem()
    torch.save(model, out / "model.pt")
    with pytest.raises(InputError, match="weights do not fit the network unet3d"):
        export_model.main([*words, "--other-code"])


def catalogue(names, tmp_path) -> pd.DataFrame:
    """Return the table of exports of some networks."""
    path = tmp_path / "onnx.csv"
    export_model.main(["--out-catalogue", str(path), "--networks", *names])
    return pd.read_csv(path).set_index("network")


def largest_jump(name: str) -> float:
    """Return how far PyTorch's own logits move, and a tenth more, when the input does by 2e-6."""
    network, num_inputs = fresh_network(name)
    generator = torch.Generator().manual_seed(0)
    image, moved = torch.randn(1, num_inputs, *export_model.CROP_VOX, generator=generator), []
    with torch.inference_mode():
        for _ in range(8):
            other = image + 2e-6 * torch.randn(image.shape, generator=generator)
            moved.append(float((network(other) - network(image)).abs().max()))
    return 1.1 * max(moved)


def check_exports(table):
    """Check that each network went to ONNX alike, or is known not to."""
    for name, row in table.iterrows():
        if name in WITHOUT_ONNX:
            assert not row["is_exported"]
            assert WITHOUT_ONNX[name] in row["reason"]
        else:
            assert row["is_exported"], row["reason"]
            most = largest_jump(name) if name in JUMPS else MOST_DIFFERENCE
            assert 0 < row["max_difference_logit"] < most
            assert row["max_difference_probability"] < most
            assert row["speed_ratio"] > 0


def test_networks_go_to_onnx_or_say_why_not(tmp_path):
    table = catalogue(["fcn", "pspnet"], tmp_path)
    check_exports(table)
    assert list(table["is_exported"]) == [True, False]


@pytest.mark.slow
def test_the_whole_catalogue_goes_to_onnx_or_says_why_not(tmp_path):
    table = catalogue([], tmp_path)
    assert sorted(table.index) == network_names()
    check_exports(table)
