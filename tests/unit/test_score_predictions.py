"""score_predictions: known answers, the same grid and region for readers and model."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from freeze_plan import main as freeze
from model_factory import make_cohort
from predict_cubes import main as predict
from predict_ensemble import main as predict_test
from score_predictions import main
from train_model import main as train

from quorum.errors import InputError
from quorum.frozen_plan import read_looks
from quorum.scoring import readers_pairs, reference_masks, score_nodule
from quorum.shards import open_shards
from quorum.surface_metrics import compare_masks
from quorum.tables import read_table, write_table

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (20, 30, 30)


def block(z, y, x, side=6):
    """Return a cube of ones."""
    mask = np.zeros(SHAPE, bool)
    mask[z : z + side, y : y + side, x : x + side] = True
    return mask


def four_readers(masks):
    """Return the masks as bits."""
    return sum(mask.astype(np.uint8) << k for k, mask in enumerate(masks))


def rows_by_pair(rows):
    """Return rows by (offset, subject, reference)."""
    return {(row["offset_mm"], row["subject"], row["reference"]): row for row in rows}


@pytest.fixture
def scored():
    """Three readers agree; the fourth and the model are two voxels off in x."""
    readers = four_readers([block(5, 10, 10)] * 3 + [block(5, 10, 12)])
    references = reference_masks(readers, 4, latent=block(5, 10, 11))
    predicted = {0.0: block(5, 10, 12), 4.0: np.zeros(SHAPE, bool)}
    rows = score_nodule(predicted, references, coverage=np.ones(SHAPE, bool), spacing_mm=1.0)
    return rows_by_pair(rows)


def test_known_answers(scored):
    row = scored[0.0, "model", "consensus"]
    assert row["dice"] == pytest.approx(4 / 6)
    assert row["iou"] == pytest.approx(4 / 8)
    assert row["hd95_mm"] == pytest.approx(2)
    assert row["volume_mm3"] == 216
    assert row["volume_error_mm3"] == 0
    assert scored[0.0, "model", "reader4"]["dice"] == 1
    assert scored[0.0, "model", "reader4"]["assd_mm"] == 0
    assert scored[0.0, "model", "latent"]["dice"] == pytest.approx(5 / 6)
    assert scored[0.0, "reader4", "others4"]["dice"] == pytest.approx(4 / 6)
    assert scored[0.0, "reader1", "reader2"]["dice"] == 1
    # Without reader 1: two of three still agree, and reader 4 is alone.
    assert scored[0.0, "model", "others1"]["dice"] == pytest.approx(4 / 6)


def ball(radius, x=24.0):
    """Return a ball of a radius in voxels: bool (48, 48, 48)."""
    z, y, other = np.ogrid[:48, :48, :48]
    return (z - 24.0) ** 2 + (y - 24.0) ** 2 + (other - x) ** 2 <= radius**2


def score_pair(predicted, reference, spacing_mm=1.0, distance_mm=None):
    """Return the model's row against a consensus of four equal readers."""
    references = reference_masks(four_readers([reference] * 4), 4)
    coverage = np.ones(reference.shape, bool)
    rows = score_nodule(
        {0.0: predicted}, references, coverage=coverage, spacing_mm=spacing_mm,
        readers_distance_mm=distance_mm,
    )  # fmt: skip
    return rows_by_pair(rows)[0.0, "model", "consensus"]


def test_balls_inside_each_other():
    row = score_pair(ball(12), ball(8), distance_mm=4.5)
    volumes = [4 / 3 * np.pi * radius**3 for radius in (8, 12)]
    assert row["dice"] == pytest.approx(2 * volumes[0] / sum(volumes), rel=0.02)
    assert row["volume_error_mm3"] == pytest.approx(volumes[1] - volumes[0], rel=0.02)
    assert row["volume_error_share"] == pytest.approx((12 / 8) ** 3 - 1, rel=0.03)
    assert row["assd_mm"] == pytest.approx(4, abs=0.4)
    assert row["hd95_mm"] == pytest.approx(4, abs=0.7)
    assert row["hd95_pooled_mm"] <= row["hd95_mm"]
    assert row["center_distance_mm"] == pytest.approx(0, abs=1e-9)
    assert row["surface_dice_1mm"] == 0
    assert row["surface_dice_readers"] > 0.9
    assert row["is_hit"]


def test_distances_are_in_mm():
    one, half = (score_pair(ball(8, 27), ball(8), spacing) for spacing in (1.0, 0.5))
    assert one["center_distance_mm"] == pytest.approx(3)
    for name in ("hd95_mm", "hd95_pooled_mm", "assd_mm", "center_distance_mm"):
        assert half[name] == pytest.approx(one[name] / 2)
    assert half["volume_mm3"] == pytest.approx(one["volume_mm3"] / 8)
    assert half["surface_dice_1mm"] > one["surface_dice_1mm"]


def test_a_hit_needs_a_tenth():
    assert not score_pair(ball(8, 24 + 14), ball(8))["is_hit"]  # IoU 0.01
    assert score_pair(ball(8, 24 + 9), ball(8))["is_hit"]  # IoU 0.16
    nothing = np.zeros((48, 48, 48), bool)
    both_empty = score_pair(nothing, nothing)
    assert both_empty["is_hit"]
    assert not both_empty["is_penalized"]
    assert np.isnan(both_empty["dice"])


def test_an_empty_mask_costs_the_cubes_diagonal():
    row = score_pair(np.zeros((48, 48, 48), bool), ball(8), 0.5)
    assert row["is_penalized"]
    for name in ("hd95_mm", "hd95_pooled_mm", "assd_mm", "center_distance_mm"):
        assert row[name] == pytest.approx(0.5 * 48 * 3**0.5)
    assert row["surface_dice_1mm"] == 0
    assert (row["dice"], row["is_hit"]) == (0, False)


def test_distances_are_those_of_the_trees():
    """Scoring keeps a distance map a mask; `surface_distances` asks trees: the same numbers."""
    generator = np.random.default_rng(0)
    known = np.ones((48, 48, 48), bool)
    known[:, :, 34:] = False
    for _ in range(5):
        a, b = (ball(generator.uniform(5, 11), generator.uniform(18, 30)) for _ in range(2))
        ours = score_nodule(
            {0.0: a}, reference_masks(four_readers([b] * 4), 4), coverage=known, spacing_mm=0.7
        )[0]
        theirs = compare_masks(a, b, (0.7,) * 3, region=known)
        for name in ("dice", "iou", "hd95_mm", "assd_mm"):
            assert ours[name] == pytest.approx(theirs[name])


def test_every_pair_is_there_once(scored):
    names = [f"reader{k}" for k in range(1, 5)]
    others = [f"others{k}" for k in range(1, 5)]
    model = {(0.0, "model", name) for name in ["consensus", "latent", *names, *others]}
    alone = {(0.0, f"reader{k}", f"others{k}") for k in range(1, 5)}
    alone |= {(0.0, name, "consensus") for name in names}
    pairs = {(0.0, a, b) for a in names for b in names if a < b}
    assert set(scored) == model | alone | pairs | {(4.0, "model", "consensus")}
    assert readers_pairs(1) == []


def test_an_empty_mask_is_dice_0_and_counted(scored):
    row = scored[4.0, "model", "consensus"]
    assert (row["dice"], row["iou"], row["is_empty"], row["is_hit"]) == (0, 0, True, False)
    assert row["volume_error_mm3"] == -216
    assert np.isnan(row["hd95_mm"])  # away from the centre no distance is measured


def test_only_covered_voxels_count_for_model_and_readers_and_their_border_is_no_surface():
    readers = four_readers([block(0, 10, 10)] * 4)
    coverage = np.zeros(SHAPE, bool)
    coverage[2:, :, :13] = True
    outside = block(0, 10, 10) | block(12, 20, 20)  # the second block is not covered
    references = reference_masks(readers, 4)
    row = rows_by_pair(score_nodule({0.0: outside}, references, coverage=coverage, spacing_mm=1.0))
    assert row[0.0, "model", "consensus"]["dice"] == 1
    assert row[0.0, "model", "consensus"]["volume_mm3"] == 4 * 6 * 3
    smaller = block(0, 10, 10) & (np.arange(30) < 12)
    cut = rows_by_pair(score_nodule({0.0: smaller}, references, coverage=coverage, spacing_mm=1.0))
    # The model's cut at x = 12 is a real surface; the reference goes on beyond what is covered
    # and has none there, so it is far away.
    assert cut[0.0, "model", "consensus"]["hd95_mm"] > 0


def test_scores_do_not_depend_on_where_the_nodule_lies():
    found = []
    for shift in (0, 7):
        readers = four_readers([block(5, 3 + shift, 10, side) for side in (5, 6, 7, 8)])
        predicted = {0.0: block(4, 3 + shift, 10, 7)}
        references = reference_masks(readers, 4)
        found.append(
            score_nodule(predicted, references, coverage=np.ones(SHAPE, bool), spacing_mm=1.0)
        )
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A cohort with the predictions of a ball."""
    cohort = make_cohort(tmp_path_factory.mktemp("cohort"))
    plan, out = cohort.plan("ball", method="ball_oracle"), cohort.folder / "run"
    train(cohort.train_flags(plan, out))
    predict(cohort.predict_flags(plan, out))
    return cohort


def flags_of(cohort, predictions, out, consensus="majority"):
    """Return the script's flags."""
    return [
        *("--predictions", str(predictions), "--shards", *cohort.shards),
        *("--splits", str(cohort.splits), "--agreement", str(write_agreement(cohort))),
        *("--consensus", consensus, "--out-scores", str(out)),
        *("--out-nodules", str(out.with_suffix(".nodules.csv"))),
        *("--out-calibration", str(out.with_suffix(".calibration.csv"))),
    ]


def write_agreement(cohort):
    """Write the readers' own distances: 2 mm in the middle of folds 2 to 4, 3 mm of all folds."""
    cubes, path = open_shards(cohort.shards), cohort.folder / "agreement.csv"
    part_of = pd.read_csv(cohort.splits).set_index("patient_id")["part"]
    apart = {"fold0": 9.0, "fold1": 9.0, "fold2": 1.0, "fold3": 2.0, "fold4": 3.0, "test": 50.0}
    frame = pd.DataFrame({
        "nodule_id": [str(name) for name in cubes.nodule_id], "kind": "pair", "reader_a": 1,
        "reader_b": 2, "dice": 0.8, "iou": 0.7, "hd95_mm": 3.0,
        "assd_mm": [apart[part_of[str(name)]] for name in cubes.patient_id], "is_empty_mask": False,
    })  # fmt: skip
    write_table(frame, path, "agreement", {})
    return path


def test_the_script_writes_a_row_for_every_nodule_and_pair(run, tmp_path):
    out = tmp_path / "scores.csv"
    main(flags_of(run, run.folder / "run" / "predictions.h5", out))
    scores = read_table(out, "scores")
    assert len(scores) == 4 * (10 + 14 + 1)  # nodules x (model, readers, offset of 4 mm)
    assert scores.groupby("nodule_id").size().nunique() == 1
    model = scores[(scores["subject"] == "model") & (scores["offset_mm"] == 0)]
    assert model[model["reference"] == "latent"]["dice"].min() > 0.7
    readers = scores[scores["subject"] != "model"]
    assert readers["dice"].between(0.5, 1).all()
    assert (readers["offset_mm"] == 0).all()
    # The tolerance is the training patients' own: what the scored fold would give is another.
    assert (scores["readers_distance_mm"] == 2).all()
    assert set(scores["part"]) == {"fold0"}


@pytest.mark.parametrize("consensus", ["staple", "0.75", "reader2"])
def test_other_consensus(run, tmp_path, consensus):
    out = tmp_path / "scores.csv"
    main(flags_of(run, run.folder / "run" / "predictions.h5", out, consensus))
    scores = read_table(out, "scores").set_index(["offset_mm", "subject", "reference"])
    consensus_dice = scores.loc[(0, "model", "consensus"), "dice"]
    if consensus == "reader2":
        assert (consensus_dice.values == scores.loc[(0, "model", "reader2"), "dice"].values).all()


def test_predictions_of_another_cohort_kind_or_with_nan(run, tmp_path):
    predictions = run.folder / "run" / "predictions.h5"
    bad = tmp_path / "bad.h5"
    bad.write_bytes(predictions.read_bytes())
    with h5py.File(bad, "r+") as file:
        file["probability"][1, 0] = np.nan
    with pytest.raises(InputError, match="holds nan"):
        main(flags_of(run, bad, tmp_path / "scores.csv"))
    with h5py.File(bad, "r+") as file:
        names = list(file["nodule_id"].asstr())
        file["nodule_id"][0] = "feedbeef-feedbeef"
    with pytest.raises(InputError, match="1 nodules that no shard has"):
        main(flags_of(run, bad, tmp_path / "scores.csv"))
    with h5py.File(bad, "r+") as file:
        file["nodule_id"][0] = names[0]
        file.attrs["data_kind"] = "scan"
    with pytest.raises(InputError, match="scan predictions, phantom shards"):
        main(flags_of(run, bad, tmp_path / "scores.csv"))
    bad.write_bytes(predictions.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"bad\.h5"):
        main(flags_of(run, bad, tmp_path / "scores.csv"))
    assert not (tmp_path / "scores.csv").exists()


def test_an_unknown_consensus(run, tmp_path):
    predictions = run.folder / "run" / "predictions.h5"
    with pytest.raises(InputError, match="'majorty'"):
        main(flags_of(run, predictions, tmp_path / "scores.csv", "majorty"))


def test_predictions_of_another_part_or_a_nodule_twice(run, tmp_path):
    bad = tmp_path / "bad.h5"
    bad.write_bytes((run.folder / "run" / "predictions.h5").read_bytes())
    with h5py.File(bad, "r+") as file:
        file.attrs["part"] = "fold1"
    with pytest.raises(InputError, match="say fold1 and hold the patient"):
        main(flags_of(run, bad, tmp_path / "scores.csv"))
    with h5py.File(bad, "r+") as file:
        file.attrs["part"] = "fold0"
        file["nodule_id"][1] = file["nodule_id"][0]
    with pytest.raises(InputError, match="1 twice"):
        main(flags_of(run, bad, tmp_path / "scores.csv"))


def freeze_flags(folder, plan=ROOT / "config" / "analysis_plan.yaml"):
    """Return the flags that freeze a plan in a folder."""
    return [
        *("--plan", str(plan), "--looks", str(folder / "looks")),
        *("--out-plan", str(folder / "plan.json")),
    ]


@pytest.fixture(scope="module")
def tested(run, tmp_path_factory):
    """The same cohort's test part, predicted under a frozen plan, with drawn masks."""
    folder = tmp_path_factory.mktemp("test_part")
    freeze(freeze_flags(folder))
    predict_test([
        *("--plan", str(run.folder / "ball.yaml")),
        *("--models", str(run.folder / "run" / "model.pt"), "--splits", str(run.splits)),
        *("--shards", *run.shards, "--frozen-plan", str(folder / "plan.json")),
        *("--click-offsets-mm", "0", "4", "--flips", "False", "--seed", "0"),
        *("--out-predictions", str(folder / "predictions.h5")),
    ])  # fmt: skip
    with h5py.File(folder / "predictions.h5", "r+") as file:
        drawn = file["probability"][:, 0] >= 0.5
        moved = np.stack([np.roll(drawn, k, axis=-1) for k in range(3)], axis=1)
        file["samples"] = moved.astype(np.uint8)
    return folder / "predictions.h5"


def test_the_test_part_needs_a_frozen_plan_and_each_look_is_logged(run, tested, tmp_path):
    flags = flags_of(run, tested, tmp_path / "scores.csv")
    with pytest.raises(InputError, match="without a frozen analysis plan"):
        main(flags)
    stored, looks = str(tested.parent / "plan.json"), str(tmp_path / "looks")
    with pytest.raises(InputError, match="without a log"):
        main([*flags, "--frozen-plan", stored])
    for count in (1, 2):
        main([*flags, "--frozen-plan", stored, "--looks", looks])
        assert len(read_looks(looks)) == count
    scores = read_table(tmp_path / "scores.csv", "scores")
    assert set(scores["part"]) == {"test"}
    # Members of an ensemble trained on all folds, and on no patient of the test part.
    assert (scores["readers_distance_mm"] == 3).all()
    nodules = read_table(tmp_path / "scores.nodules.csv", "nodule_scores")
    assert set(nodules["sample_source"]) == {"samples"}
    assert (nodules["num_samples"] == 3).all()
    assert (nodules["samples_diversity"] > 0).all()
    assert (nodules["ged_squared_distinct"] < nodules["ged_squared"]).all()


def test_predictions_under_another_plan_or_none_are_refused_before_a_look(run, tested, tmp_path):
    text = (ROOT / "config" / "analysis_plan.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text.replace("margin_dice: 0.03", "margin_dice: 0.05"))
    flags = flags_of(run, tested, tmp_path / "scores.csv")
    freeze(freeze_flags(tmp_path, tmp_path / "other.yaml"))
    looks = tmp_path / "looks"
    other = ["--frozen-plan", str(tmp_path / "plan.json"), "--looks", str(looks)]
    with pytest.raises(InputError, match="were made under the analysis plan"):
        main([*flags, *other])
    bare = tmp_path / "bare.h5"
    bare.write_bytes(tested.read_bytes())
    with h5py.File(bare, "r+") as file:
        del file.attrs["analysis_plan_sha256"]
    own = ["--frozen-plan", str(tested.parent / "plan.json"), "--looks", str(looks)]
    with pytest.raises(InputError, match="made under the analysis plan none"):
        main([*flags_of(run, bare, tmp_path / "scores.csv"), *own])
    assert not list(looks.glob("*"))


def test_one_thresholded_mask_is_one_sample(run, tmp_path):
    out = tmp_path / "scores.csv"
    main(flags_of(run, run.folder / "run" / "predictions.h5", out))
    nodules = read_table(out.with_suffix(".nodules.csv"), "nodule_scores")
    assert set(nodules["sample_source"]) == {"threshold"}
    assert nodules["ged_squared_distinct"].isna().all()
    assert (nodules["readers_diversity"] > 0).all()
    bins = read_table(out.with_suffix(".calibration.csv"), "calibration")
    assert bins["num_voxels"].sum() == nodules["num_band_voxels"].sum()
    # A ball of 0 and 1 fills the outermost bins alone.
    assert (bins["num_voxels"] > 0).tolist() == [True, *[False] * 8, True]


def test_masks_of_another_nodule_score_badly(run, tmp_path):
    """Negative control: predictions shuffled between nodules, or moved by some voxels."""
    predictions = run.folder / "run" / "predictions.h5"
    means = {}
    for name in ("right", "shuffled", "moved"):
        bad = tmp_path / f"{name}.h5"
        bad.write_bytes(predictions.read_bytes())
        with h5py.File(bad, "r+") as file:
            share = file["probability"][()]
            if name == "shuffled":
                file["probability"][...] = np.roll(share, 1, axis=0)
            if name == "moved":
                file["probability"][...] = np.roll(share, 4, axis=-1)
        main(flags_of(run, bad, tmp_path / f"{name}.csv"))
        scores = read_table(tmp_path / f"{name}.csv", "scores")
        rows = scores[(scores["reference"] == "consensus") & (scores["offset_mm"] == 0)]
        means[name] = rows["dice"].mean()
    assert means["right"] > means["shuffled"] + 0.05
    assert means["right"] > means["moved"] + 0.05
