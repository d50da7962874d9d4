"""compare_papers: published numbers beside ours, and nothing made up."""

from pathlib import Path

import pandas as pd
import pytest
import yaml
from compare_papers import main
from score_factory import make_nodules, make_scores

from quorum.errors import InputError
from quorum.published import TASKS, nearest_definition, spell_differences
from quorum.published_rows import nearest_experiments, read_published
from quorum.settings import EXPERIMENTS
from quorum.tables import read_table, write_table

PUBLISHED = sorted((Path(__file__).resolve().parents[2] / "config" / "published").glob("*.yaml"))


def compare(folder, frames, published=PUBLISHED, **measured):
    """Run the script on scores, and nodule scores with what was measured; return the table."""
    paths = [str(folder / f"scores{k}.csv") for k in range(len(frames))]
    beside = [path.replace("scores", "nodules") for path in paths]
    for path, nodules, frame in zip(paths, beside, frames, strict=True):
        write_table(frame, path, "scores", {})
        write_table(make_nodules(frame).assign(**measured), nodules, "nodule_scores", {})
    parts = ["fold0", "fold1", "test"]
    splits = pd.DataFrame({"patient_id": list("abc"), "part": parts, "num_nodules": 1})
    splits.to_csv(folder / "splits.csv", index=False)
    out = folder / "papers.csv"
    main([
        *("--published", *map(str, published), "--scores", *paths, "--consensus", "majority"),
        *("--nodule-scores", *beside),
        *("--splits", str(folder / "splits.csv"), "--resamples", "200", "--seed", "0"),
        *("--out-papers", str(out)),
    ])  # fmt: skip
    return read_table(out, "papers")


def test_each_published_number_is_there_with_ours_in_its_metric(tmp_path):
    table = compare(tmp_path, [make_scores("unet3d")])
    published = read_published(PUBLISHED)
    rows = [row for topic, rows in published.items() if topic != "counts" for row in rows]
    assert len(table) == len(rows)
    assert sorted(table["method"]) == sorted(row["method"] for row in rows)
    ours = table[table["topic"] == "segmentation"].set_index(["method", "metric"])
    dice = ours.loc[("Ni 2022", "Dice")]
    assert dice["value"] == 0.8304
    assert dice["our_value"] == pytest.approx(0.73 + 0.15)
    assert dice["our_low"] < dice["our_value"] < dice["our_high"]
    assert (dice["our_num_nodules"], dice["our_num_patients"]) == (4, 2)
    iou = ours.loc[("DGCA V-Net (2025)", "IoU"), "our_value"]
    bases = [0.7 + 0.02 * k + 0.15 for k in range(4)]
    assert iou == pytest.approx(sum(b / (2 - b) for b in bases) / 4)
    # Readers: pairs 0.68, others 0.755; DB-ResNet's own are 0.8225.
    row = ours.loc[("DB-ResNet (Cao 2019)", "Dice")]
    assert (row["our_reader_definition"], row["our_reader_value"]) == ("others", 0.755)
    rest = table[table["topic"] != "segmentation"]
    assert rest["our_value"].isna().all()
    tasks = rest[rest["topic"] != "distribution"]
    reasons = tasks.groupby("topic")["no_value_reason"].unique().explode()
    assert reasons.to_dict() == TASKS
    drawn = rest[rest["topic"] == "distribution"]
    assert len(drawn) == 10
    assert drawn["no_value_reason"].str.contains("reproduce_papers").all()
    # No paper says how many nodules, readers, or which split.
    assert (drawn[["nodules", "readers", "split", "source"]] == "unknown").all(axis=None)


def test_energy_distances_stand_beside_ours_of_the_same_estimator_and_our_readers(tmp_path):
    frames = [make_scores(name) for name in ("unet3d", "prob_unet")]
    frames[1].loc[frames[1]["nodule_id"] == "nodule00", "is_truncated"] = True
    table = compare(tmp_path, frames, ged_squared=0.31, num_samples=16, sample_source="samples")
    row = table.set_index("method").loc["Probabilistic U-Net"]
    assert (row["metric"], row["value"], row["our_value"]) == ("GED²", 0.324, 0.31)
    assert (row["our_experiment"], row["our_reference"]) == ("prob_unet", "readers")
    assert row["our_num_nodules"] == 3
    assert row["our_reader_definition"] == "diversity"
    assert row["our_reader_value"] == pytest.approx(0.35)
    for words in (
        "estimator: unknown; ours 16 samples a nodule, all ordered pairs (V-statistic)",
        "input: 2D crops; ours 3D cubes around the nodule's centre, given",
        "our readers' figure is 1 - IoU of distinct pairs of readers",
    ):
        assert words in row["differences"]
    dice = table[(table["topic"] == "segmentation") & table["our_value"].notna()]
    assert set(dice["our_experiment"]) == {"unet3d"}


def test_unknown_stays_unknown_and_differences_are_spelled_out(tmp_path):
    table = compare(tmp_path, [make_scores("unet3d")]).set_index(["method", "metric"])
    row = table.loc[("Ni 2022", "Dice")]
    assert (row["nodules"], row["consensus"], row["split"]) == ("unknown",) * 3
    for words in (
        "network: the paper's own; ours unet3d",
        "nodules: unknown; ours 4 of 2 patients",
        "consensus: unknown; ours majority",
        "split: unknown; ours by patient, fold 0 of 2 held out",
        "cut out around the readers' marks: optimistic",
    ):
        assert words in row["differences"]
    assert table.loc[("SCA-VNet (2024)", "Dice"), "our_experiment"] == "unet3d"
    assert pd.isna(table.loc[("Ni 2022", "Dice"), "no_value_reason"])


def test_the_nearest_protocol_that_was_run_stands_beside_a_number(tmp_path):
    frames = [make_scores(name) for name in ("unet3d", "vnet")]
    table = compare(tmp_path, frames).set_index(["method", "metric"])
    assert table.loc[("SCA-VNet (2024)", "Dice"), "our_experiment"] == "vnet"
    assert table.loc[("Ni 2022", "Dice"), "our_experiment"] == "unet3d"


def test_a_phantoms_number_and_a_missing_experiment_stand_beside_no_paper(tmp_path):
    table = compare(tmp_path, [make_scores("unet3d").assign(data_kind="phantom")])
    assert table["our_value"].isna().all()
    segmentation = table[table["topic"] == "segmentation"]
    assert segmentation["no_value_reason"].str.contains("phantom").all()
    (tmp_path / "other").mkdir()
    table = compare(tmp_path / "other", [make_scores("ball")])
    assert table["our_value"].isna().all()
    lacking = table[~table["topic"].isin(TASKS)]
    assert lacking["no_value_reason"].str.contains("no run of").all()


def test_experiments_that_papers_name_exist():
    names = nearest_experiments(PUBLISHED)
    assert {"unet3d", "prob_unet"} <= set(names)
    assert len(set(names)) == len(names)
    assert set(names) <= {path.stem for path in EXPERIMENTS.glob("*.yaml")}


def test_the_definition_of_readers_that_a_paper_meant():
    ours = {"pairs": 0.77, "others": 0.81, "all": 0.87}
    assert nearest_definition({"reader_values": [0.80, 0.84]}, ours) == ("others", 0.81)
    assert nearest_definition({"reader_values": [0.76]}, ours) == ("pairs", 0.77)
    assert nearest_definition({"reader_values": []}, ours)[0] is None
    assert nearest_definition({"reader_values": [0.5]}, {})[0] is None
    assert "unknown" in spell_differences({"split": "unknown"}, {}, {"split": "ours"})


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="can't be read"):
        read_published([tmp_path / "missing.yaml"])
    content = yaml.safe_load(PUBLISHED[-1].read_text())
    content["rows"][0]["valu"] = 0.5
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"bad\.yaml"):
        read_published([bad])
