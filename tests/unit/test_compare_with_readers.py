"""compare_with_readers: the same yardstick for model and reader, and a verdict only where due."""

import numpy as np
import pandas as pd
import pytest
from compare_with_readers import main
from freeze_plan import main as freeze
from hypothesis import given
from hypothesis import strategies as st
from score_factory import make_scores
from test_freeze_plan import PLAN

from quorum.bootstrap import bootstrap_mean
from quorum.errors import InputError
from quorum.fifth_reader import (
    endpoint_rows,
    level_words,
    no_verdict_reason,
    nodule_rows,
    non_inferiority_p,
)
from quorum.frozen_plan import log_look, read_frozen_plan, read_plan
from quorum.tables import load_schema, read_table, write_table

NUM = 60  # nodules of 30 patients
THE_PLAN = {**read_plan(PLAN), "resamples": 2000}


def fill(rows, table):
    """Return rows with every column of a schema; what isn't given is missing or invented."""
    invented = {"string": "x", "integer": 1, "number": 3.0, "boolean": False}
    columns = load_schema(table)["columns"]
    return pd.DataFrame([
        {c["name"]: row.get(c["name"], invented.get(c["dtype"], [])) for c in columns}
        for row in rows
    ])  # fmt: skip


def make_runs(kind, lift, seeds=(0, 1, 2), part="fold0", experiment="unet3d"):
    """Return scores of some seeds with readers' differences of `lift`, of one kind of data."""
    frames = [make_scores(experiment, seed=seed, nodules=NUM, lift=lift) for seed in seeds]
    return [frame.assign(data_kind=kind, part=part) for frame in frames]


def make_ensemble(kind, lift, **options):
    """Return an ensemble's scores on the test part."""
    frame = make_runs(kind, lift, seeds=(0,), part="test", **options)[0]
    return frame.assign(fold=-1, seed=-1)


@pytest.fixture
def study(tmp_path):
    """Freeze the plan, and return a function that runs the script on scores."""
    stored, looks = tmp_path / "plan.json", tmp_path / "looks"
    freeze(["--plan", str(PLAN), "--looks", str(looks), "--out-plan", str(stored)])

    def run(runs, tests=(), num_looks=1):
        paths = {}
        for name, frames in (("scores", runs), ("test-scores", tests)):
            paths[name] = [str(tmp_path / f"{name}{k}.csv") for k in range(len(frames))]
            for path, frame in zip(paths[name], frames, strict=True):
                write_table(frame, path, "scores", {})
        for _ in range(num_looks if tests else 0):
            log_look(looks, "unet3d", predictions=stored, plan=read_frozen_plan(stored))
        ids = runs[0]["nodule_id"].unique()
        rows = [{"nodule_id": name, "series_uid": "1.2.3", "diameter_mm": 5.0 + k,
                 "malignancy_median": None} for k, name in enumerate(ids)]  # fmt: skip
        write_table(fill(rows, "nodules"), tmp_path / "nodules.csv", "nodules", {})
        series = fill([{"series_uid": "1.2.3", "slice_thickness_mm": 2.5}], "series")
        write_table(series, tmp_path / "series.csv", "series", {})
        names = ("fifth_reader", "by_group", "nodules", "looks")
        outs = {name: tmp_path / f"out_{name}.csv" for name in names}
        main([
            *("--nodules", str(tmp_path / "nodules.csv"), "--series", str(tmp_path / "series.csv")),
            *("--frozen-plan", str(stored), "--looks", str(looks), "--scores", *paths["scores"]),
            *("--test-scores", *paths["test-scores"]),
            *[w for n, path in outs.items() for w in (f"--out-{n.replace('_', '-')}", str(path))],
        ])  # fmt: skip
        tables = ("fifth_reader", "by_group", "reader_nodules", "looks")
        return [read_table(path, table) for path, table in zip(outs.values(), tables, strict=True)]

    return run


def test_a_model_above_the_margin_gets_its_verdict_on_the_test_part_alone(study):
    fifth, groups, nodules, looks = study(make_runs("scan", 0.0), [make_ensemble("scan", 0.0)])
    of_test = fifth[fifth["part"] == "test"].set_index("endpoint")
    assert of_test["verdict"].tolist() == ["not_inferior", "not_inferior"]
    assert of_test["no_verdict_reason"].isna().all()
    assert of_test.loc["others", "difference"] == pytest.approx(0, abs=1e-9)
    assert of_test.loc["readers", "difference"] == pytest.approx(0.05)
    assert of_test["num_seeds"].tolist() == [3, 3]
    assert (of_test["num_nodules"].tolist(), len(looks)) == ([NUM, NUM], 1)
    rest = fifth[fifth["part"] == "cross_validation"]
    assert (rest["verdict"] == "none").all()
    assert rest["no_verdict_reason"].str.contains("locked test part").all()
    by_size = groups[(groups["group"] == "diameter_mm") & (groups["part"] == "test")]
    assert by_size["num_nodules"].sum() == NUM
    assert by_size["level"].tolist() == ["below 6", "6 to 8", "8 to 15", "15 to 30", "30 or more"]
    assert by_size["num_nodules"].tolist() == [1, 2, 7, 15, 35]
    thick = groups[groups["group"] == "slice_thickness_mm"]
    assert set(thick["level"]) == {"2.5 or more"}
    assert "malignancy" not in set(groups["group"])  # no rating, no group
    assert len(nodules) == 2 * NUM


@pytest.mark.parametrize(
    ("lift", "verdict"), [(-0.02, "not_inferior"), (-0.04, "not_shown"), (0.1, "not_inferior")]
)
def test_the_margin_decides(study, lift, verdict):
    # Every nodule has the same difference, so the interval has no width.
    fifth, *_ = study(make_runs("scan", lift), [make_ensemble("scan", lift)])
    of_test = fifth[fifth["part"] == "test"]
    assert set(of_test["verdict"]) == {verdict}
    row = of_test[of_test["endpoint"] == "others"].iloc[0]
    assert row["difference"] == pytest.approx(lift)
    assert row["is_above_margin"] == (verdict == "not_inferior")


@pytest.mark.parametrize("kind", ["phantom", "cut_out"])
def test_phantoms_and_cut_outs_get_no_verdict(study, kind):
    fifth, *_ = study(make_runs(kind, 0.1), [make_ensemble(kind, 0.1)])
    assert (fifth["verdict"] == "none").all()
    assert fifth["no_verdict_reason"].str.contains("phantom|cut out").all()
    assert fifth["data_kind"].unique().tolist() == [kind]


def test_too_few_seeds_and_a_look_that_nobody_logged(study):
    fifth, *_ = study(make_runs("scan", 0.1, seeds=(0, 1)), [make_ensemble("scan", 0.1)])
    of_test = fifth[fifth["part"] == "test"]
    assert of_test["no_verdict_reason"].str.contains("2 seeds, the plan asks for 3").all()
    plan = read_plan(PLAN)
    row = {"data_kind": "scan", "part": "test", "num_seeds": 3, "num_patients": 30}
    frozen = {"plan_sha256": "a"}
    looks = pd.DataFrame({"plan_sha256": ["a"], "time_utc": ["2"], "frozen_utc": ["1"]})
    assert no_verdict_reason(row, plan, looks, frozen) is None
    for bad, words in (
        (looks.iloc[:0], "without a logged look"),
        (looks.assign(plan_sha256="b"), "another plan"),
        (looks.assign(frozen_utc="3"), "before the plan was frozen"),
    ):
        assert words in no_verdict_reason(row, plan, bad, frozen)
    assert "9 patients" in no_verdict_reason({**row, "num_patients": 9}, plan, looks, frozen)


def test_truncated_nodules_and_those_of_three_readers_are_left_out_and_counted():
    scores = make_scores(nodules=6, lift=0.1)
    scores.loc[scores["nodule_id"] == "nodule00", "is_truncated"] = True
    three = scores["nodule_id"] == "nodule01"
    scores = scores[~(three & scores["reference"].isin(["others4", "reader4"]))]
    rows = endpoint_rows(scores, part="test", plan=THE_PLAN)
    assert [row["endpoint"] for row in rows] == ["others", "readers"]
    for row in rows:
        assert (row["num_nodules"], row["num_truncated"], row["num_too_few_readers"]) == (4, 1, 1)


def test_failures_come_first_then_what_the_model_lost_most():
    scores = make_scores(nodules=4)
    is_model = scores["subject"] == "model"
    failed = is_model & (scores["nodule_id"] == "nodule03")
    scores.loc[failed, ["is_hit", "iou", "dice"]] = [False, 0.05, 0.1]
    worse = is_model & (scores["nodule_id"] == "nodule02") & scores["reference"].str.match("others")
    scores.loc[worse, "dice"] -= 0.3
    found = nodule_rows(scores, part="test", plan=THE_PLAN)
    assert found["nodule_id"].tolist()[:2] == ["nodule03", "nodule02"]
    assert found["is_failure"].tolist() == [True, False, False, False]
    assert found["difference"].iloc[2:].tolist() == pytest.approx([0.1, 0.1])


def test_the_p_value_follows_the_margin():
    generator = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 2)
    noise = generator.normal(0, 0.05, 80)
    noise -= noise.mean()
    chance = {"margin": 0.03, "resamples": 4000, "seed": 0}
    at_margin = non_inferiority_p(noise - 0.03, patients, **chance)
    assert 0.4 < at_margin < 0.6
    assert non_inferiority_p(noise, patients, **chance) < 0.001
    assert non_inferiority_p(noise - 0.06, patients, **chance) > 0.999
    assert np.isnan(non_inferiority_p([0.1, 0.2], ["a", "a"], **chance))


def test_the_p_value_and_the_interval_agree():
    """Skewed differences: a centred bootstrap would contradict the percentile interval."""
    generator = np.random.default_rng(1)
    patients, chance = np.arange(12), {"resamples": 1999, "seed": 3}
    values = 0.02 - generator.gamma(0.5, 0.04, 12)
    interval = bootstrap_mean(values, patients, **chance)
    sides = set()
    for gap in (-0.004, -0.001, 0.001, 0.004):
        margin = gap - interval["low"]
        p = non_inferiority_p(values, patients, margin=margin, **chance)
        assert (p < 0.025) == (interval["low"] > -margin)
        sides.add(p < 0.025)
    assert sides == {True, False}


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=4, unique=True), st.floats(-6, 6))
def test_a_value_falls_into_one_group_whose_words_hold_it(edges, value):
    edges = sorted(round(edge, 1) for edge in edges)
    order = int(np.digitize(value, edges))
    assert order == sum(value >= edge for edge in edges)
    words = level_words(edges, order)
    assert words.startswith("below") == (value < edges[0])
    assert words.endswith("or more") == (value >= edges[-1])


def test_scores_of_the_wrong_part_or_cohort(study):
    runs = make_runs("scan", 0.1)
    with pytest.raises(InputError, match="test were given for cross_validation"):
        study([make_ensemble("scan", 0.1)])
    with pytest.raises(InputError, match="fold0 were given for test"):
        study(runs, [make_runs("scan", 0.1, seeds=(4,))[0]])
    with pytest.raises(InputError, match="none of folds"):
        study(runs, [make_ensemble("scan", 0.1, experiment="ball")])
    foreign = make_ensemble("scan", 0.1).replace({"nodule_id": {"nodule00": "stranger"}})
    with pytest.raises(InputError, match="1 nodules that the cohort lacks, such as stranger"):
        study(runs, [foreign])
