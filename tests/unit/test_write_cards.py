"""Cards, checklists and references hold the run's own numbers, and links that lead somewhere."""

import html.parser
import json
import re

import pandas as pd
import pytest
import write_cards
from handover_inputs import make_handover
from needs import ROOT

from quorum.card_files import CARDS, CHECKLISTS, FILES, TEMPLATES
from quorum.closed_schema import load_yaml
from quorum.command import installed_versions
from quorum.errors import InputError
from quorum.fifth_words import fifth_words
from quorum.networks import network_names
from quorum.references import (
    ALWAYS,
    EXPLANATIONS,
    LOSSES,
    OPTIMIZERS,
    STEPS,
    read_entries,
    references,
)
from quorum.report.look import PAGES
from quorum.tables import read_table
from quorum.training_words import regularization_words

NUM_ITEMS = {"claim": 44, "tripod_ai": 52, "dome": 21}


def write(folder, flags):
    """Run the script; return its folder."""
    out = folder / "write_cards"
    write_cards.main([*flags, "--out-files", *(str(out / name) for name in FILES)])
    return out


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The files of a phantom run."""
    folder = tmp_path_factory.mktemp("phantom")
    return write(folder, make_handover(folder))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The files of a run on volumes that were cut out."""
    folder = tmp_path_factory.mktemp("real")
    return write(folder, make_handover(folder, data_kind="cut_out"))


def test_every_page_of_a_phantom_run_says_so_and_none_of_a_real_one(phantom, real):
    pages = [name for name in FILES if name.endswith((".md", ".html"))]
    assert len(pages) == 12
    for name in pages:
        assert "PHANTOM IMAGES" in (phantom / name).read_text()
        assert "phantom" not in (real / name).read_text().lower()
    assert "phantom" in (phantom / "references.bib").read_text()
    assert "optimistic" in (real / "model_card.md").read_text()


def test_the_model_card_has_the_usual_sections_and_the_runs_numbers(phantom):
    text = (phantom / "model_card.md").read_text()
    sections = re.findall(r"^## (.*)$", text, re.M)
    assert sections == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    row = "| unet3d | 0.800 (0.700 to 0.900) | 4 | 2 | 0.250 | not reported |"
    assert row in text
    assert "1,234,567" in text
    assert "0.75, component" in text
    assert "| sex | female | 0.800 (0.800 to 0.800) | 4 | 2 |" in text


def test_a_reader_stands_beside_the_model_only_against_the_same_others(phantom, real):
    row = "| unet3d | 0.750 (0.300 to 0.900) | 0.770 (0.300 to 0.900) | 4 |"
    assert row in (phantom / "model_card.md").read_text()
    words = "unet3d 0.750 (0.300 to 0.900), reader 0.770 (0.300 to 0.900)"
    for name in ("methods", "checklist_claim", "checklist_tripod_ai"):
        assert words in (phantom / f"{name}.md").read_text()
    for folder in (phantom, real):
        for name in FILES:
            text = (folder / name).read_text()
            assert "0.110 (" not in text  # truncated nodules
            # The readers' mean on the native grid, over other nodules: only where readers are
            # described.
            assert text.count("0.850") == text.count("0.850 (native grid, all selected nodules)")
    found = "-0.020 (95 % interval -0.040 to 0.020) against the majority of the other three and"
    for name in ("methods", "model_card", "checklist_claim"):
        text = (phantom / f"{name}.md").read_text()
        assert found in text
        assert "margin 0.03: no verdict (phantom images: simulated" in text
        assert "no verdict (volumes cut out" in (real / f"{name}.md").read_text()


def test_the_fifth_readers_sentence_is_of_the_test_part_where_it_was_opened():
    row = {
        "experiment": "a", "part": "cross_validation", "endpoint": "others", "num_nodules": 9,
        "num_patients": 5, "difference": 0.01, "low": -0.01, "high": 0.03, "margin": 0.03,
        "verdict": "none", "no_verdict_reason": "cross-validation",
    }  # fmt: skip
    opened = {**row, "part": "test", "verdict": "not_inferior", "no_verdict_reason": None}
    words = fifth_words(pd.DataFrame([row, opened]), "a")
    assert "locked test part, 9 nodules of 5 patients" in words
    assert words.endswith("margin 0.03: not inferior to a reader.")
    assert "no verdict (cross-validation)" in fifth_words(pd.DataFrame([row]), "a")
    assert "was not made of b" in fifth_words(pd.DataFrame([row]), "b")


def test_the_data_card_has_the_usual_sections_and_the_runs_numbers(real):
    text = (real / "data_card.md").read_text()
    sections = re.findall(r"^## (.*)$", text, re.M)
    assert sections == [
        "Motivation", "Composition", "Collection process", "Preprocessing, cleaning, labelling",
        "Uses", "Distribution", "Maintenance", "Known limits",
    ]  # fmt: skip
    assert "6 nodules of 3 patients in 3 series" in text
    assert "| at least 4 annotations | 9 | 3 | 6 |" in text
    assert "Age: 61 (61 to 61)" in text
    assert "CC BY 3.0" in text


def test_the_methods_paragraph_cites_only_what_the_references_hold(phantom):
    text = (phantom / "methods.md").read_text()
    keys = {
        k.strip() for found in re.findall(r"\[([a-z0-9_; ]+)\]", text) for k in found.split(";")
    }
    bib = (phantom / "references.bib").read_text()
    assert {"armato2011", "torch", "snakemake", "network_unet3d", "milletari2016"} <= keys
    for words in (
        "0 nodules were dropped", "40 x 80 x 80 voxels",
        "1,234,567 parameters", "1 run of 100 steps took 12 s in all on a processor",
        "Fold 0 was held out, seed 0", "2000 resamples", "Baselines without a network: threshold",
    ):  # fmt: skip
        assert words in text
    for key in keys:
        assert re.search(rf"@\w+\{{{key},", bib), key
    assert "1 repaired" in text


def test_references_are_whole_entries_with_versions_and_the_runs_networks(phantom):
    bib = (phantom / "references.bib").read_text()
    keys = re.findall(r"^@\w+\{(\w+),", bib, re.M)
    assert len(set(keys)) == len(keys) > 25
    for entry in bib.split("\n\n")[1:]:
        assert entry.count("{") == entry.count("}")
        assert " title = {" in entry
    assert "note = {Version 2.0.1}" in next(e for e in bib.split("\n\n") if "{torch," in e)
    assert "network_unet3d" in keys
    assert "network_vnet" not in keys
    assert {"loshchilov2019", "warfield2004", "niivue", "highdicom"} <= set(keys)
    # What this run did not use.
    unused = {"salehi2017", "lakshminarayanan2017", "isensee2021", "s5cmd", "kraehenbuehl2011"}
    assert not unused & set(keys)


def facts_of(**changes) -> dict:
    """Return what references are chosen by: one network, changed."""
    network = {"name": "a", "is_network": True, "network": "unet3d", "loss_names": ["dice"],
               "optimizer": "adamw", "steps": []}  # fmt: skip
    facts = {"explained_by": [], "is_test_open": False, "has_nnunet": False, "source": "phantom",
             "versions": {}, "kind_words": "x", "experiments": [network]}  # fmt: skip
    own = {name: value for name, value in changes.items() if name in network}
    facts["experiments"] = [{**network, **own}]
    return facts | {name: value for name, value in changes.items() if name not in network}


def test_every_network_loss_optimizer_map_and_tool_has_its_entry():
    entries = read_entries()
    schema = load_yaml(ROOT / "workflow" / "schemas" / "config.schema.yaml")["properties"]
    training = schema["train_model"]["properties"]
    losses = set(training["losses"]["properties"])
    optimizers = set(training["optimizer"]["properties"]["name"]["enum"])
    maps = set(schema["explain_predictions"]["properties"]["methods"]["items"]["enum"])
    assert losses == set(LOSSES)
    assert optimizers == set(OPTIMIZERS)
    assert maps <= set(EXPLANATIONS)
    known = [*LOSSES.values(), *OPTIMIZERS.values(), *EXPLANATIONS.values(), *STEPS.values()]
    assert {key for key in known if key} | set(ALWAYS) <= set(entries)
    for name in network_names():
        assert f"@misc{{network_{name}, title" in references(facts_of(network=name))
    tools = {name.lower() for name in installed_versions()}
    assert tools <= set(ALWAYS)
    everything = {key for key in entries if key in references(facts_of(
        loss_names=sorted(losses), steps=["crf"], explained_by=sorted(EXPLANATIONS),
        is_test_open=True, has_nnunet=True, source="idc",
    ))}  # fmt: skip
    assert everything == set(entries), "an entry that nothing uses"


def test_what_has_no_reference_is_named():
    with pytest.raises(InputError, match="hinge was used, and"):
        references(facts_of(loss_names=["hinge"]))


def test_the_checklists_are_whole_and_every_answer_has_its_place(phantom):
    table = read_table(phantom / "checklists.csv", "checklists")
    assert table.groupby("checklist").size().to_dict() == NUM_ITEMS
    assert not table.duplicated(["checklist", "item"]).any()
    reported = table[table["status"] == "reported"]
    assert reported["answer"].notna().all()
    assert reported["link"].notna().all()
    lacking = set(table.loc[table["status"] == "not reported", "topic"])
    assert {"Funding and role of funders", "Testing on external data"} <= lacking
    for name in CHECKLISTS:
        page = (phantom / f"checklist_{name}.md").read_text()
        assert page.count("\n| ") - 1 == NUM_ITEMS[name]


def test_links_lead_to_pages_of_the_report(phantom):
    table = read_table(phantom / "checklists.csv", "checklists")
    pages = {f"{name}.html" for name, _, _ in PAGES}
    for link in set(table["link"].dropna()):
        page, section = link.removeprefix("../write_report/").split("#")
        assert page in pages, link
        assert section


def test_fixed_words_follow_the_settings(phantom):
    answers = read_table(phantom / "checklists.csv", "checklists").set_index(["checklist", "item"])
    words = answers["answer"]
    assert "locked test part" in words["claim", "27"]
    assert "was not opened" in words["claim", "27"]
    assert "predict_series.py" in words["claim", "33"]
    assert "weight decay 0.01" in words["dome", "O7"]
    assert "elastic" not in words["dome", "O7"]
    assert "grid of 1.0 mm" in words["claim", "28"]
    assert "set in the configuration beforehand" in words["dome", "O4"]
    assert answers["link"]["tripod_ai", "23b"] == "../write_report/models.html#groups"
    settings = load_yaml(ROOT / "config" / "config.yaml")["train_model"]
    settings["elastic"]["max_displacement_vox"] = 2.0
    settings["optimizer"]["weight_decay"], settings["ema_decay"] = 0.0, None
    settings["network"]["dropout"] = 0.1
    found = regularization_words(settings)
    assert "elastic displacements up to 2 voxels, dropout 0.1" in found
    assert "decay" not in found


def test_each_answer_is_asked_for_and_each_item_has_one():
    answers = load_yaml(TEMPLATES / "answers.yaml")
    lists = load_yaml(TEMPLATES / "checklists.yaml")
    assert set(lists) == set(CHECKLISTS)
    asked = {item[3] for checklist in lists.values() for item in checklist["items"]}
    cards = "".join((TEMPLATES / f"{name}.md.j2").read_text() for name in CARDS)
    assert asked | set(re.findall(r"\ba\.(\w+)", cards)) == set(answers)
    bib = (TEMPLATES / "references.bib").read_text()
    for checklist in lists.values():
        assert f"{{{checklist['reference']}," in bib


class Outline(html.parser.HTMLParser):
    """Counts tags, and holds open ones."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.seen.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "br", "hr", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the tag that was opened last."""
        assert self.open.pop() == tag


def test_the_html_is_closed_and_needs_no_network(phantom):
    for name in FILES:
        if name.endswith(".html"):
            outline = Outline()
            outline.feed((phantom / name).read_text())
            assert outline.open == []
            assert outline.seen.count("h1") == 1
            assert not any(link.startswith("http") for link in outline.links)
            assert "table" in outline.seen or name == "methods.html"


def test_words_of_headers_are_no_markup(real):
    page = (real / "model_card.html").read_text()
    assert "<td>GE &lt;script&gt;1/2</td>" in page
    assert "<script" not in page


def change(flags, name, value):
    """Return the flags with another value of one."""
    place = flags.index(name) + 1
    return [*flags[:place], value, *flags[place + 1 :]]


def test_a_missing_experiment_and_missing_results_are_one_sentence(tmp_path):
    flags = make_handover(tmp_path)
    settings = json.loads(flags[flags.index("--settings") + 1])
    settings["experiments"].append("vnet")
    with pytest.raises(InputError, match="the experiment vnet has no record among the 2 given"):
        write(tmp_path, change(flags, "--settings", json.dumps(settings)))
    with pytest.raises(InputError, match=r"the table .*nothing.csv can't be read"):
        write(tmp_path, change(flags, "--summary", str(tmp_path / "nothing.csv")))
    (tmp_path / "record-unet3d.json").write_text("{")
    with pytest.raises(InputError, match=r"record-unet3d\.json can't be read"):
        write(tmp_path, flags)
    assert not (tmp_path / "write_cards").exists()
