"""The report: its numbers come from the inputs, it escapes, and it refuses what doesn't fit."""

import base64
import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import h5py
import jsonschema
import numpy as np
import pandas as pd
import pytest
import write_report
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_inputs import make_inputs
from shard_factory import make_shard

from quorum.errors import InputError
from quorum.report import svg, tiles
from quorum.report.cohort_flow import step
from quorum.report.curves import binned
from quorum.report.gallery import fair_differences, model_scores
from quorum.report.look import PAGES
from quorum.report.provenance import assumptions, benchmark_rows
from quorum.report.quality import volume_rows
from quorum.report.tabular import Column, Table

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The report on eight phantoms: (folder of the inputs, folder of the page, flags)."""
    return written(tmp_path_factory.mktemp("phantom"))


@pytest.fixture(scope="module")
def cut_out(tmp_path_factory):
    """The report on eight cut-out volumes."""
    return written(tmp_path_factory.mktemp("cut_out"), data_kind="cut_out")


def written(folder, **choices):
    """Make inputs, write the report, return the folders and flags."""
    flags = make_inputs(folder / "inputs", **choices)
    write_report.main([*flags, *outputs(folder)])
    return folder / "inputs", folder / "report", flags


def outputs(folder) -> list:
    """Return the output flags."""
    report = Path(folder) / "report"
    return ["--out-page", str(report / "index.html"), "--out-assets", str(report / "assets")]


def page_of(report, name: str = "index") -> str:
    """Return one page's text."""
    return (report / f"{name}.html").read_text(encoding="utf-8")


def pages_of(report) -> dict:
    """Return every page's text by its name."""
    return {name: page_of(report, name) for name, _, _ in PAGES}


def read_csv(report, name) -> pd.DataFrame:
    """Return one of the page's tables."""
    return pd.read_csv(report / "assets" / "tables" / f"{name}.csv")


def replaced(flags: list, flag: str, values: list) -> list:
    """Return the flags with other values of one flag."""
    first = flags.index(flag)
    last = next((k for k in range(first + 1, len(flags)) if flags[k].startswith("--")), len(flags))
    return [*flags[: first + 1], *values, *flags[last:]]


def values_of(flags: list, flag: str) -> list:
    """Return one flag's values."""
    rest = flags[flags.index(flag) + 1 :]
    return rest[: next((k for k, word in enumerate(rest) if word.startswith("--")), len(rest))]


# What the page says of each kind of images.


def test_phantoms_are_marked_and_never_set_beside_papers(phantom):
    for page in pages_of(phantom[1]).values():
        assert page.count("PHANTOM DATA") >= 2
        assert "<title>PHANTOM DATA" in page
        assert "closer to the others than the reader left out (mean" not in page
    assert "this run" not in list(read_csv(phantom[1], "papers")["source"])


def test_cut_outs_are_optimistic_and_get_no_verdict(cut_out):
    for page in pages_of(cut_out[1]).values():
        assert "scores are optimistic, and no verdict on the fifth reader is drawn" in page
        assert "closer to the others than the reader left out (mean" not in page
    ours = read_csv(cut_out[1], "papers").query("source == 'this run'")
    summary = pd.read_csv(cut_out[0] / "summary.csv")
    row = summary.query("experiment == 'unet3d' and measure == 'dice' and reference == 'consensus'")
    mine = ours[(ours["method"] == "Quorum, unet3d") & (ours["metric"] == "Dice")]
    assert mine["value"].item() == row["value"].item()
    assert "PHANTOM" not in page_of(cut_out[1], "models")


def test_whole_scans_get_their_rows_and_no_banner(tmp_path):
    _, report, _ = written(tmp_path, num_nodules=6, data_kind="scan")
    assert 'class="banner' not in page_of(report, "index") + page_of(report, "papers")
    page = page_of(report, "models")
    assert "closer to the others than the reader left out (mean over readers) on" in page
    assert set(read_csv(report, "papers").query("source == 'this run'")["metric"]) == {
        "Dice",
        "IoU",
    }


def test_rows_stand_in_the_order_of_the_configuration(phantom):
    assert list(read_csv(phantom[1], "models-side-by-side")["experiment"]) == [
        "threshold",
        "unet3d",
    ]
    # The network is the better one in these inputs, and still comes second.
    assert read_csv(phantom[1], "models-side-by-side")["model"].is_monotonic_increasing


def test_side_by_side_holds_the_summary(phantom):
    table = read_csv(phantom[1], "models-side-by-side").set_index("experiment")
    summary = pd.read_csv(phantom[0] / "summary.csv").query("reference == 'others'")
    values = summary.set_index(["experiment", "measure"])["value"]
    for experiment in ("threshold", "unet3d"):
        assert table.at[experiment, "model"] == values[experiment, "dice"]
        assert table.at[experiment, "reader"] == values[experiment, "reader_dice"]
        assert table.at[experiment, "difference"] == values[experiment, "dice_difference"]


def test_nodule_differences_average_to_the_summary(phantom):
    # The report's own differences by nodule and compare_experiments' mean are one number.
    summary = pd.read_csv(phantom[0] / "summary.csv").query("measure == 'dice_difference'")
    expected = summary.query("reference == 'others' and experiment == 'unet3d'")["value"].item()
    nodules = read_csv(phantom[1], "nodules")
    assert nodules["difference unet3d"].mean() == pytest.approx(expected, abs=1e-12)


def test_failures_come_first(phantom):
    nodules = read_csv(phantom[1], "nodules")
    dice = nodules["dice unet3d"].dropna()
    assert len(dice) == 6
    assert dice.is_monotonic_increasing
    assert nodules["dice unet3d"].tail(2).isna().all()
    first = re.search(r'id="nodule-([0-9a-f-]+)"', page_of(phantom[1], "cubes")).group(1)
    assert first == nodules["nodule_id"][0]


def test_flow_ends_with_the_scored_nodules(phantom):
    flow = read_csv(phantom[1], "cohort-flow")
    assert (flow["num_in"] - flow["num_dropped"] == flow["num_out"]).all()
    assert (flow["num_in"].iloc[1:].to_numpy() == flow["num_out"].iloc[:-1].to_numpy()).all()
    assert flow["num_out"].iloc[-1] == 6
    assert flow["num_in"].iloc[0] == 38
    assert "928" in page_of(phantom[1], "cohort")
    assert "897" in page_of(phantom[1], "cohort")


def test_readers_table_counts_what_is_missing(phantom):
    table = read_csv(phantom[1], "readers-agreement").set_index(["comparison", "measure"])
    agreement = pd.read_csv(phantom[0] / "agreement.csv").query("kind == 'pair'")
    assert table.at[("two readers of one nodule", "HD95, mm"), "num_missing"] == 1
    mean = table.at[("two readers of one nodule", "Dice"), "mean"]
    assert mean == pytest.approx(agreement["dice"].mean())


# The page as a file.


def test_text_from_tables_is_escaped(phantom):
    page = page_of(phantom[1], "data")
    assert "&lt;doubled&gt;" in page
    assert "<doubled>" not in page
    assert "a &lt; b &amp; c" in page


def test_every_address_inside_resolves(phantom):
    pages = pages_of(phantom[1])
    ids = {name: set(re.findall(r' id="([^"]+)"', page)) for name, page in pages.items()}
    for name, page in pages.items():
        targets = re.findall(r'(?:href|src)="([^"]+)"', page)
        inside = [t for t in targets if not t.startswith(("https:", "data:"))]
        assert len(inside) > 10
        for target in inside:
            path, _, anchor = target.partition("#")
            assert not path or (phantom[1] / path).is_file(), (name, target)
            where = Path(path).stem if path else name
            assert not anchor or anchor in ids[where], (name, target)
        assert not [t for t in re.findall(r'src="([^"]+)"', page) if t.startswith("http")]


def test_what_is_handed_on_is_linked_where_it_lies(phantom, tmp_path):
    assert 'id="handed"' not in page_of(phantom[1])
    cards, flags = tmp_path / "write_cards", [*phantom[2], *outputs(tmp_path)]
    cards.mkdir()
    paths = [cards / "model_card.html", cards / "references.bib", cards / "model_card.md"]
    with pytest.raises(
        InputError, match=r"model_card\.html, which the report links to, is missing"
    ):
        write_report.main([*flags, "--handed", *map(str, paths)])
    for path in paths:
        path.write_text("x")
    write_report.main([*flags, "--handed", *map(str, paths)])
    page = page_of(tmp_path / "report")
    part = page[page.index('id="handed"') :].split("</ul>")[0]
    links = re.findall(r'href="([^"]+)"', part)
    assert links == ["../write_cards/model_card.html", "../write_cards/references.bib"]
    assert all((tmp_path / "report" / link).is_file() for link in links)
    assert "marked as phantom" in part


def test_every_page_is_reached_from_every_other_one(phantom):
    for name, page in pages_of(phantom[1]).items():
        for other, title, _ in PAGES:
            assert f'href="{other}.html"' in page, (name, title)


def test_ids_are_unique(phantom):
    for page in pages_of(phantom[1]).values():
        ids = re.findall(r' id="([^"]+)"', page)
        assert len(ids) == len(set(ids))


def test_figures_are_whole_files(phantom):
    figures = sorted((phantom[1] / "assets" / "figures").glob("*.svg"))
    assert {
        "cohort-flow.svg",
        "offsets.svg",
        "models-side-by-side.svg",
        "workflow.svg",
        "costs.svg",
    } <= {f.name for f in figures}
    for figure in figures:
        root = ElementTree.parse(figure).getroot()
        assert root.find("{http://www.w3.org/2000/svg}desc").text


def test_each_nodule_has_picture_and_card(phantom):
    ids = read_csv(phantom[1], "nodules")["nodule_id"]
    for nodule in ids:
        folder = phantom[1] / "assets" / "nodules"
        with Image.open(folder / f"{nodule}.webp") as picture:
            assert picture.width > 3 * tiles.MIN_FIELD_MM
        text = (folder / f"{nodule}.js").read_text()
        arguments = json.loads("[" + re.fullmatch(r"quorumCard\((.*)\);\n", text).group(1) + "]")
        assert arguments[0] == nodule
        assert 'class="consensus"' in arguments[1]
        drawing = ElementTree.parse(folder / f"{nodule}.svg").getroot()
        name = "{http://www.w3.org/2000/svg}"
        assert drawing.find(f"{name}title").text.startswith(f"PHANTOM DATA. Nodule {nodule}")
        data = drawing.find(f"{name}image").get("href").removeprefix("data:image/png;base64,")
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert drawing.get("viewBox") == f"0 0 {picture.width} {picture.height}"
            assert np.asarray(picture).std() > 1
        outlines = {path.find(f"{name}title").text for path in drawing.iter(f"{name}path")}
        assert {"consensus", "reader 1"} <= outlines
        assert all(path.get("stroke").startswith("#") for path in drawing.iter(f"{name}path"))
    assert len(ids) == 8


def test_same_inputs_same_page(phantom, tmp_path):
    write_report.main([*phantom[2], *outputs(tmp_path)])
    assert pages_of(tmp_path / "report") == pages_of(phantom[1])


def test_without_a_cube_the_page_still_opens(tmp_path):
    flags = make_inputs(tmp_path / "inputs", 4)
    shard = make_shard(tmp_path / "empty.h5", 0)
    for flag in ("--predictions", "--scores", "--records", "--histories"):
        flags = replaced(flags, flag, [])
    flags = replaced(flags, "--shards", [str(shard)])
    for flag in ("--summary", "--offsets"):
        path = Path(values_of(flags, flag)[0])
        path.write_text(path.read_text().splitlines()[0] + "\n")
    write_report.main([*flags, *outputs(tmp_path)])
    assert "No cube was made" in page_of(tmp_path / "report", "cubes")


# Input that doesn't fit: one sentence, and nothing written.


def assert_refused(flags, tmp_path, words):
    """Check that the report ends in one sentence with `words`, and leaves nothing."""
    with pytest.raises(InputError, match=words) as caught:
        write_report.main([*flags, *outputs(tmp_path)])
    assert "to mend it" in str(caught.value)
    assert not (tmp_path / "report").exists() or not list((tmp_path / "report").iterdir())


def test_missing_scores_are_refused(phantom, tmp_path):
    scores = values_of(phantom[2], "--scores")[:1]
    flags = replaced(phantom[2], "--scores", scores)
    assert_refused(flags, tmp_path, "the experiment unet3d has predictions and no scores")


def test_missing_predictions_are_refused(phantom, tmp_path):
    flags = replaced(phantom[2], "--predictions", values_of(phantom[2], "--predictions")[:1])
    assert_refused(flags, tmp_path, "the experiment unet3d has scores and no predictions")


def test_predictions_of_another_cohort_are_refused(phantom, tmp_path):
    names = ("threshold", "unet3d")
    other = make_inputs(tmp_path / "inputs", 20, experiments=names)
    flags = replaced(phantom[2], "--predictions", values_of(other, "--predictions"))
    assert_refused(flags, tmp_path, "nodules of another cohort")


def test_scores_of_another_kind_are_refused(phantom, cut_out, tmp_path):
    flags = replaced(phantom[2], "--scores", values_of(cut_out[2], "--scores"))
    assert_refused(flags, tmp_path, "cut_out")


def test_nan_predictions_are_refused(phantom, tmp_path):
    paths = []
    for path in values_of(phantom[2], "--predictions"):
        copy = tmp_path / Path(path).name
        copy.write_bytes(Path(path).read_bytes())
        paths.append(str(copy))
    with h5py.File(paths[1], "r+") as file:
        block = file["probability"][2, 0]
        block[0, 0, 0] = np.nan
        file["probability"][2, 0] = block
    flags = replaced(phantom[2], "--predictions", paths)
    assert_refused(flags, tmp_path, "1 voxels of nodule .* that are no number")


def test_a_missing_table_is_refused(phantom, tmp_path):
    flags = replaced(phantom[2], "--summary", [str(tmp_path / "summary.csv")])
    assert_refused(flags, tmp_path, "summary.csv can't be read")


def test_published_rows_are_checked(phantom, tmp_path):
    broken = tmp_path / "segmentation.yaml"
    broken.write_text("topic: segmentation\nrows: [{method: x, dice: 0.9}]\n")
    flags = replaced(phantom[2], "--published", [str(broken)])
    assert_refused(flags, tmp_path, "breaks its schema")


def test_page_and_assets_belong_together(phantom, tmp_path):
    flags = [*phantom[2], "--out-page", str(tmp_path / "a" / "index.html")]
    with pytest.raises(InputError, match="both in the same folder"):
        write_report.main([*flags, "--out-assets", str(tmp_path / "b" / "assets")])


# Published figures.


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "published").glob("*.yaml")), ids=str)
def test_published_files_follow_their_schema(path):
    schema = yaml.safe_load((ROOT / "workflow" / "schemas" / "published.schema.yaml").read_text())
    content = yaml.safe_load(path.read_text())
    jsonschema.validate(content, schema)
    assert content["topic"] == path.stem


# Pieces.


def test_fair_difference_known_answer():
    rows = []
    for reader, model, other in ((1, 0.9, 0.8), (2, 0.7, 0.8)):
        shared = {"experiment": "e", "fold": 0, "seed": 0, "nodule_id": "n"}
        shared |= {"reference": f"others{reader}"}
        rows.append({**shared, "subject": "model", "dice": model, "offset_mm": 2.0})
        rows.append({**shared, "subject": "model", "dice": 0.1, "offset_mm": 8.0})
        rows.append({**shared, "subject": f"reader{reader}", "dice": other, "offset_mm": 0.0})
    assert fair_differences(pd.DataFrame(rows)) == {"n": {"e": pytest.approx(0.0)}}
    assert model_scores(pd.DataFrame(columns=["offset_mm"])) == {}


def test_volume_bias_known_answer():
    frame = pd.DataFrame(
        {
            "subject": ["consensus", "consensus", "consensus"],
            "volume_native_mm3": [100.0, 300.0, 100.0],
            "volume_grid_mm3": [110.0, 290.0, 900.0],
            "diameter_mm": [10.0, 10.0, 10.0],
            "is_truncated": [False, False, True],
        }
    )
    row = next(r for r in volume_rows(frame) if r["subject"] == "consensus" and "over" in r["size"])
    assert row["num_masks"] == 2
    assert row["bias"] == pytest.approx(0.0)
    assert row["absolute"] == pytest.approx((10 + 100 / 30) / 2)


def test_outline_of_a_block_is_its_octagon():
    mask = np.zeros((40, 80, 80), bool)
    mask[18:22, 38:42, 38:42] = True
    view = tiles.choose_view(mask, mask)
    path = tiles.outline_path(mask, view)
    # Three planes, each one closed line with eight corners: half a voxel is cut off each corner.
    assert path.count("M") == path.count("Z") == 3
    assert all(part.count("L") == 7 for part in path.split("M")[1:])


def test_outline_encloses_the_masks_area():
    mask = np.zeros((40, 80, 80), bool)
    mask[20, 30:50, 35:45] = True
    view = tiles.choose_view(mask, mask)
    first = tiles.outline_path(mask, view).split("M")[1].rstrip("Z")
    points = np.array([[float(v) for v in pair.split()] for pair in first.split("L")])
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(20 * 10 - 4 * 0.125)
    low_y, low_x = view.low_zyx[1], view.low_zyx[2]
    assert (x.min(), x.max()) == (35 - low_x, 45 - low_x)
    assert (y.min(), y.max()) == (30 - low_y, 50 - low_y)


def test_head_is_up_and_the_patients_right_is_left():
    volume = np.zeros((40, 80, 80), np.int16)
    union = np.zeros(volume.shape, bool)
    union[15:25, 35:45, 35:45] = True
    volume[26, 40, 40], volume[20, 40, 46] = 1, 2
    view = tiles.View((20, 40, 40), tiles.choose_view(union, union).low_zyx, 36)
    axial, coronal, _ = tiles.panes(volume, view)
    assert np.argwhere(coronal == 1)[0][0] < np.argwhere(coronal == 2)[0][0]
    # x grows to the patient's left, which is on the right of the picture.
    assert np.argwhere(axial == 2)[0][1] > 18


def test_what_is_not_covered_is_striped():
    image = np.full((40, 80, 80), 400, np.int16)
    coverage = np.zeros(image.shape, np.uint8)
    coverage[:, :, 40:] = 1
    mask = np.zeros(image.shape, bool)
    mask[18:22, 38:42, 38:42] = True
    view = tiles.choose_view(mask, mask)
    picture = Image.open(io.BytesIO(tiles.picture(image, coverage, view))).convert("L")
    pixels = np.asarray(picture)[:, : picture.height]
    assert pixels[:, : picture.height // 3].max() < 80
    assert pixels[:, -picture.height // 3 :].min() > 200


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_lie_inside_and_are_few(low, width):
    found = svg.ticks(low, low + width)
    assert 2 <= len(found) <= 6
    assert min(found) >= low - 1e-6 * width
    assert max(found) <= low + width + 1e-6 * width


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=900))
def test_binning_keeps_the_range(values):
    means = binned(values)
    assert len(means) == min(len(values), 240)
    assert min(values) - 1e-9 <= means.min()
    assert means.max() <= max(values) + 1e-9


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=80))
def test_any_text_comes_back_whole_from_a_figure(words):
    figure = svg.Figure("f", words, words, svg.text(0, 0, words))
    root = ElementTree.fromstring(figure.standalone(""))
    name = "{http://www.w3.org/2000/svg}"
    found = [root.find(f"{name}{tag}").text or "" for tag in ("title", "desc", "text")]
    assert found == [words] * 3


def test_table_keeps_digits_in_its_file():
    columns = [Column("a", "a", 2), Column("b", "b")]
    table = Table("t", "caption", columns, [{"a": 1 / 3, "b": "x,y"}])
    rows = list(csv.reader(io.StringIO(table.csv_text())))
    assert rows == [["a", "b"], [str(1 / 3), "x,y"]]
    assert table.cell(table.rows[0], table.columns[0]) == "0.33"
    assert table.cell({"a": float("nan")}, table.columns[0]) == "–"


def test_steps_add_up():
    assert step("a cube", 10, 3, "")["num_out"] == 7


def test_assumptions_are_found_with_their_lines(tmp_path):
    script = tmp_path / "scripts" / "one.py"
    script.parent.mkdir(parents=True)
    script.write_text("x = 1\n# ASSUME: readers are alike (nobody)\n# and stay so.\ny = 2\n")
    found = assumptions(tmp_path)
    assert found == [
        {"file": "scripts/one.py", "line": 2, "choice": "readers are alike (nobody) and stay so."}
    ]


def test_benchmarks_are_summed_by_rule(tmp_path):
    (tmp_path / "rule_a").mkdir()
    (tmp_path / "rule_a" / "1.tsv").write_text("s\tmax_rss\n2.0\t100\n")
    (tmp_path / "rule_a" / "2.tsv").write_text("s\tmax_rss\n3.0\t-\n")
    (row,) = benchmark_rows(tmp_path)
    assert (row["num_jobs"], row["total_s"], row["max_rss_mb"]) == (2, 5.0, 100.0)
    assert benchmark_rows(tmp_path / "none") == []


def test_the_data_page_says_whence_under_which_licence_and_how_to_cite(phantom):
    page = page_of(phantom[1], "data")
    assert "rendered here by a phantom scanner" in page
    assert "Series of the cohort by licence" in page
    assert "https://doi.org/10.7937/k9/tcia.2015.lo9ql9sx" in page
