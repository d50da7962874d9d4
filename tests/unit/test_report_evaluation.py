"""What the report makes of the evaluation's tables, its graph of rules and its captions."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import write_report
from compare_experiments import summarise
from docutils.core import publish_string
from jinja2 import Environment
from report_inputs import make_inputs
from score_factory import make_nodules, make_scores

from quorum.card_files import TEMPLATES
from quorum.closed_schema import load_yaml
from quorum.comparison import BESIDE_READER, nodule_values, split_measure
from quorum.errors import InputError
from quorum.report import charts, svg
from quorum.report.calibration import pooled_bins
from quorum.report.captions import figure_captions, rst
from quorum.report.failures import count_failures, failure_words
from quorum.report.measure_words import MEASURES, measure_words, reference_words
from quorum.report.overview import OPTIONAL
from quorum.report.scores import scores_section
from quorum.report.tabular import schema_columns
from quorum.report.workflow import layers, ran_graph, rule_graph, without_detours
from quorum.tables import load_schema

ROOT = Path(__file__).resolve().parents[2]


def written(folder, **choices):
    """Make inputs with the evaluation's tables, write the report, return its folder and flags."""
    flags = make_inputs(folder / "inputs", 8, has_evaluation=True, **choices)
    report = folder / "report"
    outputs = ["--out-page", str(report / "index.html"), "--out-assets", str(report / "assets")]
    write_report.main([*flags, *outputs])
    return report, [*flags, *outputs]


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A report on whole scans, with a verdict."""
    return written(tmp_path_factory.mktemp("scans"), data_kind="scan")


@pytest.fixture(scope="module")
def cut_outs(tmp_path_factory):
    """A report on cut-out volumes."""
    return written(tmp_path_factory.mktemp("cut_outs"), data_kind="cut_out")


def text_of(report, name: str) -> str:
    """Return one page's text."""
    return (report / f"{name}.html").read_text(encoding="utf-8")


def rows_of(report, name: str) -> list:
    """Return the rows of one of the report's tables."""
    with open(report / "assets" / "tables" / f"{name}.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def test_whole_scans_get_the_verdict_of_the_table(scans):
    page = text_of(scans[0], "models")
    assert "not inferior to a reader" in page
    assert "<strong>No verdict</strong>" not in page
    assert "not inferior to a reader" in text_of(scans[0], "index")
    assert {row["verdict_words"] for row in rows_of(scans[0], "fifth-reader")} == {
        "not inferior to a reader"
    }


def test_cut_outs_get_a_banner_and_no_verdict(cut_outs):
    page = text_of(cut_outs[0], "models")
    assert "<strong>No verdict</strong>" in page
    assert "cut_out &lt;images&gt;" in page.lower()
    assert "not inferior to a reader" not in page + text_of(cut_outs[0], "index")
    assert "says nothing about patients’ scans" in page


def one_truncated():
    """Return what the scores' section reads of four nodules: one beyond the cube, one missed."""
    scores = make_scores()
    is_model = scores["subject"] == "model"
    scores.loc[scores["nodule_id"] == "nodule03", "is_truncated"] = True
    for nodule in ("nodule02", "nodule03"):
        lost = is_model & (scores["nodule_id"] == nodule)
        scores.loc[lost, ["dice", "hd95_mm", "is_penalized"]] = [0.0, 120.0, True]
    values = nodule_values(scores, make_nodules(scores))
    rows = summarise("unet3d", values, scores, resamples=200, seed=0)
    return SimpleNamespace(
        scores=scores, summary=pd.DataFrame(rows), experiments=["unet3d"],
        shown_experiment="unet3d",
        offsets=pd.DataFrame(columns=["experiment", "offset_mm"]), methods={"unet3d": "network"},
        cubes=SimpleNamespace(has_latent=False),
        nodules=pd.DataFrame({
            "nodule_id": scores["nodule_id"].unique(), "diameter_mm": [5.0, 6.0, 7.0, 50.0],
        }),
    )  # fmt: skip


def test_a_truncated_nodule_is_in_no_figure_and_no_mean_but_in_a_table_apart():
    section = scores_section(one_truncated())
    assert (section.values["num_nodules"], section.values["num_truncated"]) == (3, 1)
    keys = [(row["measure"], row["reference"]) for row in section.tables["summary"].rows]
    assert len(keys) == len(set(keys))
    for name, count in (("summary", 3), ("truncated", 1)):
        rows = [row for row in section.tables[name].rows if row["measure"] == "hd95_mm"]
        assert {row["num_nodules"] for row in rows} == {count}
        assert {row["num_penalized"] for row in rows} == {1}
        assert rows[0]["value"] == pytest.approx((120.0 + (count - 1) * 1.5) / count)
    rows = {row["measure_words"]: row for row in section.tables["measures"].rows}
    assert len(rows) == len(BESIDE_READER)
    distance = rows["HD95 (larger direction), mm"]
    assert (distance["num_nodules"], distance["num_penalized"]) == (3, 1)
    assert distance["difference"] == pytest.approx(distance["model"] - distance["reader"])
    assert "reach beyond the cube" in section.tables["truncated"].caption
    assert section.values["rows"][0]["model"]["num_nodules"] == 3
    assert section.values["wins"] == {"unet3d": {"closer": 2, "of": 3}}
    for name in ("paired", "size"):
        assert "3 nodules" in section.figures[name].alt
        assert "nodule03" not in section.figures[name].body
        assert "nodule02" in section.figures[name].body
    assert "50" not in re.findall(r">([0-9]+)<", section.figures["size"].body)
    assert "3 values" in section.figures["spread"].alt


def test_measures_are_words_not_names_of_columns(scans):
    for name in ("summary", "pairs", "ranks", "spread"):
        for row in rows_of(scans[0], name):
            assert "_" not in row["measure_words"]
            assert " " in row["reference_words"]
    summary = one_truncated().summary
    assert {split_measure(measure)[1] for measure in summary["measure"]} - set(MEASURES) == set()
    assert measure_words("reader_iou") == "the reader’s IoU"
    assert measure_words("iou_difference") == "IoU: model − reader"
    assert reference_words("others") == "the majority of the others"


def test_definitions_are_the_runs_own(scans):
    page = text_of(scans[0], "models")
    words = " ".join(page[page.index('<section id="definitions"') :].split("</section>")[0].split())
    assert "40 × 80 × 80 voxels (z, y, x) of 1.00 mm" in words
    assert "every distance is 120.0 mm" in words
    assert "larger of the two directed 95th percentiles" in words
    assert "1.0 mm, and the readers’ own distance, 0.40 mm: the median ASSD" in words
    assert "IoU of at least 0.1" in words
    assert "distances are missing" not in page


def test_each_link_of_a_checklist_leads_to_a_section_of_its_page(scans):
    answers = load_yaml(TEMPLATES / "answers.yaml")
    linked = {(one["page"], one["section"]) for one in answers.values() if "page" in one}
    assert len(linked) > 10
    for page, section in linked:
        assert f'<section id="{section}"' in text_of(scans[0], page), (page, section)


def test_a_long_label_of_an_axis_stays_in_the_picture():
    words = "difference in Dice against the consensus, with 95 % interval"
    rows = [{"label": "a" * 25, "value": 0.1, "low": 0.0, "high": 0.2, "tone": 0}]
    body = charts.intervals("x", "x", rows, x_label=words).body
    center = float(re.search(r'x="([0-9.]+)"[^>]*>' + words, body)[1])
    assert center + 3.1 * len(words) <= svg.WIDTH


def test_a_long_label_of_a_row_is_cut_at_its_end_and_told_whole_beside_the_picture():
    rows = [{"label": "b" * 40, "value": 0.1, "low": 0.0, "high": 0.2, "tone": 0}]
    figure = charts.intervals("x", "x", rows, x_label="Dice")
    assert f">{'b' * 27}…<" in figure.body
    assert "b" * 40 in figure.alt


def test_failures_stand_before_scores(scans):
    page = text_of(scans[0], "models")
    order = [page.index(f'<section id="{name}"') for name in ("failures", "fifth", "scores")]
    assert order == sorted(order)
    ious = [float(row["consensus_iou"]) for row in rows_of(scans[0], "worst-nodules")]
    assert len(ious) == 6
    assert ious == sorted(ious)
    agreed = [float(row["pair_dice"]) for row in rows_of(scans[0], "disagreed-nodules")]
    assert agreed == sorted(agreed)
    # Both experiments, every nodule.
    assert len(rows_of(scans[0], "worst-nodules-all")) == 12


def test_counted_failures_known_answer():
    rows = [
        {"experiment": "a", "is_failure": True, "is_empty": True, "difference": -0.2},
        {"experiment": "a", "is_failure": False, "is_empty": False, "difference": 0.1},
        {"experiment": "b", "is_failure": False, "is_empty": False, "difference": None},
    ]
    first, second = count_failures(rows, ["a", "b"])
    counted = ("num_nodules", "num_failures", "share", "num_empty", "num_behind")
    assert tuple(first[key] for key in counted) == (2, 1, 50.0, 1, 1)
    assert tuple(second[key] for key in counted) == (1, 0, 0.0, 0, 0)
    words = [failure_words({**rows[0], "is_failure": a, "is_empty": b})
             for a in (True, False) for b in (True, False)]  # fmt: skip
    assert words == ["no mask", "failure", "no mask in some run", ""]


def test_papers_stand_beside_our_runs_of_whole_scans_alone(scans, cut_outs):
    (ours,) = rows_of(scans[0], "papers")
    assert (ours["value"], ours["our_value"]) == ("0.8274", "0.8")
    assert "other nodules; consensus unknown" in text_of(scans[0], "papers")
    (none,) = rows_of(cut_outs[0], "papers")
    assert (none["our_value"], none["no_value_reason"]) == ("", "phantom images")


def test_every_optional_table_is_shown_or_named_as_missing(scans, tmp_path):
    page = text_of(scans[0], "index")
    made = {"fifth_reader", "by_group", "pairs", "bland_altman", "calibration", "papers"}
    for table, (_, what, _rule) in OPTIONAL.items():
        assert (what in page) == (table not in made), table
    flags = make_inputs(tmp_path / "inputs", 4)
    first = flags.index("--tables")
    last = next(k for k in range(first + 1, len(flags)) if flags[k].startswith("--"))
    out = ["--out-page", str(tmp_path / "index.html"), "--out-assets", str(tmp_path / "assets")]
    write_report.main([*flags[:first], *flags[last:], *out])
    index = text_of(tmp_path, "index")
    for _, what, rule in OPTIONAL.values():
        assert what in index
        assert f"<code>{rule}</code>" in index


def test_a_headings_note_is_the_schemas_meaning(scans):
    (column,) = schema_columns("pairs", {"p_adjusted": "p"})
    meanings = {one["name"]: one["meaning"] for one in load_schema("pairs")["columns"]}
    assert column.note == meanings["p_adjusted"]
    assert f'title="{column.note}"' in text_of(scans[0], "models")


def test_calibration_pools_runs_by_voxels():
    frame = pd.DataFrame({
        "experiment": "e", "fold": [0, 1, 0], "bin": [2, 2, 3], "num_voxels": [1, 3, 0],
        "mean_probability": [0.2, 0.4, None], "mean_share": [0.0, 1.0, None],
    })  # fmt: skip
    assert pooled_bins(frame) == {"e": [(pytest.approx(0.35), pytest.approx(0.75), 4)]}


# Input that doesn't fit.


def test_nodules_of_another_cohort_in_an_evaluation_are_refused(scans, tmp_path):
    flags = scans[1]
    table = next(Path(word) for word in flags if word.endswith("reader_nodules.csv"))
    other = tmp_path / table.name
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{8}", "00000000-00000000", table.read_text(), count=1)
    other.write_text(text)
    Path(f"{other}-metadata.json").write_text(Path(f"{table}-metadata.json").read_text())
    flags = [str(other) if word == str(table) else word for word in flags]
    with pytest.raises(InputError, match="reader_nodules names 1 nodules of another cohort"):
        write_report.main(flags)


def test_evaluations_of_other_images_are_refused(scans, cut_outs):
    swapped = next(word for word in cut_outs[1] if word.endswith("fifth_reader.csv"))
    flags = [swapped if word.endswith("fifth_reader.csv") else word for word in scans[1]]
    with pytest.raises(InputError, match="cut_out"):
        write_report.main(flags)


def test_a_table_without_its_metadata_is_refused(scans, tmp_path):
    lost = str(tmp_path / "fifth_reader.csv")
    flags = [lost if word.endswith("fifth_reader.csv") else word for word in scans[1]]
    with pytest.raises(InputError, match="fifth_reader\\.csv or the metadata beside it is missing"):
        write_report.main(flags)


def test_a_report_before_any_result_is_one_sentence(scans, tmp_path):
    inputs = str(Path(scans[1][1]).parent)
    flags = [word.replace(inputs, str(tmp_path / "none")) for word in scans[1]]
    with pytest.raises(InputError, match="can't be read") as caught:
        write_report.main(flags)
    assert "\n" not in str(caught.value)
    assert "to mend it" in str(caught.value)


# The graph of rules.


def test_the_graph_knows_the_rules_and_what_they_read():
    graph = rule_graph(ROOT)
    assert graph["extract_cubes"]["file"] == "cubes"
    assert {"select_nodules", "extract_cubes"} <= graph["check_cubes"]["needs"]
    assert {"simulate_series", "download_series"} <= graph["check_series"]["needs"]
    assert "train_model" in graph["predict_cubes"]["needs"]
    assert graph["list_series"]["needs"] == set()


def test_only_rules_that_ran_and_lead_to_the_report_are_drawn():
    graph = {
        "write_report": {"file": "r", "needs": {"a", "b", "never"}},
        "a": {"file": "r", "needs": {"b"}},
        "b": {"file": "r", "needs": set()},
        "never": {"file": "r", "needs": set()},
        "aside": {"file": "r", "needs": {"b"}},
    }
    drawn = ran_graph(graph, {"a", "b", "aside"})
    assert set(drawn) == {"write_report", "a", "b"}
    assert without_detours(drawn)["write_report"]["needs"] == {"a"}


def test_long_edges_pass_through_every_layer():
    graph = {
        "end": {"needs": {"c", "a"}},
        "c": {"needs": {"b"}},
        "b": {"needs": set()},
        "a": {"needs": set()},
    }
    rows, edges = layers(graph)
    assert [len(row) for row in rows] == [2, 2, 1]
    assert {("a", ("a", "end", 1)), (("a", "end", 1), "end")} <= set(edges)


# Captions of Snakemake's own report.


def test_captions_state_counts_and_thresholds(scans):
    folder = scans[0] / "assets" / "captions"
    words = (folder / "attrition.rst").read_text()
    assert "from 38 groups of annotations to 8 nodules" in words
    assert "4 to 4 annotations" in words
    assert "above −0.03" in (folder / "fifth_reader.rst").read_text()
    sources = {path.name for path in (ROOT / "workflow" / "report" / "captions").glob("*.rst")}
    assert {path.name for path in folder.glob("*.rst")} == sources | {"figures.rst"}


def test_captions_are_sound_markup(scans):
    snakemake = SimpleNamespace(wildcards=SimpleNamespace(figure="cohort-flow"))
    for path in sorted((scans[0] / "assets" / "captions").glob("*.rst")):
        text = Environment().from_string(path.read_text()).render(snakemake=snakemake)
        warnings = publish_string(
            text, writer="pseudoxml",
            settings_overrides={"report_level": 1, "halt_level": 5, "warning_stream": False},
        ).decode()  # fmt: skip
        assert "system_message" not in warnings, path.name


def test_a_caption_keeps_signs_that_markup_would_take():
    words = "a*b|c_d `e` <f> 5 % {g} \\ h"
    figure = svg.Figure("n", words, "alt", "")
    snakemake = SimpleNamespace(wildcards=SimpleNamespace(figure="n"))
    text = (
        Environment().from_string(figure_captions([figure], "phantom")).render(snakemake=snakemake)
    )
    shown = publish_string(text, writer="pseudoxml").decode()
    assert "PHANTOM DATA. a*b|c_d `e` <f> 5 % (g) \\ h. alt" in shown
    assert json.dumps(rst("x_y")) == '"x\\\\_y"'
