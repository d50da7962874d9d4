"""Tables are checked whenever they are written or read, and survive the way there and back."""

import json
import math
import re

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum import tables
from quorum.errors import InputError

SCHEMA = {
    "table": "things",
    "made_by": "make_things",
    "meaning": "one row a thing",
    "columns": [
        {"name": "name", "dtype": "string", "unit": None, "nullable": False, "meaning": "its name"},
        {"name": "size_mm", "dtype": "number", "unit": "mm", "nullable": True, "meaning": "size"},
        {"name": "count", "dtype": "integer", "unit": None, "nullable": True, "meaning": "count"},
        {"name": "is_good", "dtype": "boolean", "unit": None, "nullable": True, "meaning": "good"},
        {"name": "ids", "dtype": "strings", "unit": None, "nullable": True, "meaning": "ids"},
        {"name": "rows", "dtype": "integers", "unit": "px", "nullable": True, "meaning": "rows"},
        {"name": "values", "dtype": "numbers", "unit": None, "nullable": True, "meaning": "values"},
    ],
}


@pytest.fixture(autouse=True)
def things(tmp_path_factory, monkeypatch):
    """A schema of its own, with every type of column."""
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "things.yaml").write_text(yaml.safe_dump(SCHEMA))
    monkeypatch.setattr(tables, "SCHEMAS", folder)
    tables.load_schema.cache_clear()
    yield
    tables.load_schema.cache_clear()


def one_row(**changes) -> pd.DataFrame:
    """Return a table of one row."""
    row = {
        "name": "007",
        "size_mm": 1.5,
        "count": 3,
        "is_good": True,
        "ids": ["84", "085"],
        "rows": [1, 2],
        "values": [0.5, math.nan],
    }
    return pd.DataFrame([row | changes])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_survives_the_way_there_and_back(tmp_path, suffix):
    path = tmp_path / f"things{suffix}"
    tables.write_table(one_row(), path, "things", {"script": "make_things"})
    row = tables.read_table(path, "things").iloc[0]
    assert row["name"] == "007"
    assert (row["size_mm"], row["count"], bool(row["is_good"])) == (1.5, 3, True)
    assert list(row["ids"]) == ["84", "085"]
    assert list(row["rows"]) == [1, 2]
    assert row["values"][0] == 0.5
    assert math.isnan(row["values"][1])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_missing_values_stay_missing(tmp_path, suffix):
    path = tmp_path / f"things{suffix}"
    nothing = {"size_mm": None, "count": None, "is_good": None, "ids": [], "rows": [], "values": []}
    frame = pd.concat([one_row(), one_row(**nothing)], ignore_index=True)
    tables.write_table(frame, path, "things", {})
    row = tables.read_table(path, "things").iloc[1]
    assert row[["size_mm", "count", "is_good"]].isna().all()
    assert [list(row[name]) for name in ("ids", "rows", "values")] == [[], [], []]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_table_is_fine(tmp_path, suffix):
    path = tmp_path / f"things{suffix}"
    tables.write_table(one_row().iloc[:0], path, "things", {})
    frame = tables.read_table(path, "things")
    assert len(frame) == 0
    assert list(frame.columns) == [column["name"] for column in SCHEMA["columns"]]


@settings(max_examples=30)
@given(
    number=st.floats(allow_nan=False, allow_infinity=False),
    count=st.integers(-(2**62), 2**62),
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4),
)
def test_numbers_come_back_exactly(tmp_path_factory, number, count, values):
    path = tmp_path_factory.mktemp("numbers") / "things.csv"
    tables.write_table(one_row(size_mm=number, count=count, values=values), path, "things", {})
    row = tables.read_table(path, "things").iloc[0]
    assert (row["size_mm"], row["count"], list(row["values"])) == (number, count, values)


def test_the_metadata_name_units_and_what_made_the_table(tmp_path):
    path = tmp_path / "things.csv"
    tables.write_table(one_row(), path, "things", {"script": "make_things"})
    notes = json.loads((tmp_path / "things.csv-metadata.json").read_text())
    assert notes["made_by"] == {"script": "make_things"}
    assert {c["name"]: c["unit"] for c in notes["columns"]}["size_mm"] == "mm"


@pytest.mark.parametrize(
    ("frame", "phrase"),
    [
        (one_row().drop(columns="count"), r"lacks \['count'\]"),
        (one_row().assign(extra=1), r"unknown columns \['extra'\]"),
        (one_row(count="three"), "column count .* is no integer"),
        (one_row(size_mm="wide"), "column size_mm .* is no number"),
        (one_row(name=None), "column name .* lacks 1 values"),
    ],
)
def test_a_table_that_breaks_its_schema_is_not_written(tmp_path, frame, phrase):
    with pytest.raises(InputError, match=phrase) as refusal:
        tables.write_table(frame, tmp_path / "things.csv", "things", {})
    assert "make_things" in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [None, b"", b"name,size_mm\n1,2,3,4,5\n", b"name\nx\n", b"\xff\xfe\x00", b"PAR1 torn"],
)
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_that_can_not_be_read_is_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"things{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        tables.read_table(path, "things")
    assert "things" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("rows", ["1 x", "1.5"])
def test_a_list_with_a_wrong_member_is_one_sentence(tmp_path, rows):
    path = tmp_path / "things.csv"
    tables.write_table(one_row(), path, "things", {})
    path.write_text(path.read_text().replace("1 2", rows))
    with pytest.raises(InputError, match="rows"):
        tables.read_table(path, "things")


def test_each_shipped_schema_is_well_formed(root):
    paths = sorted((root / "workflow" / "schemas" / "tables").glob("*.yaml"))
    assert paths
    for path in paths:
        schema = yaml.safe_load(path.read_text())
        assert schema["table"] == path.stem
        for rule in re.split(r", | or ", schema["made_by"]):
            assert rule == "a person" or (root / "scripts" / f"{rule}.py").is_file(), path
        assert schema["meaning"]
        names = [column["name"] for column in schema["columns"]]
        assert len(set(names)) == len(names), path
        for column in schema["columns"]:
            assert set(column) <= {"name", "dtype", "unit", "nullable", "meaning"}, (path, column)
            assert column["dtype"] in {*tables.SCALARS, *tables.LISTS}, (path, column)
            assert column["meaning"], (path, column)


UNITS = {"_mm": "mm", "_hu": "HU", "_vox": "voxel", "_s": "s", "_mb": "MB", "_deg": "degree"}


def test_a_unit_in_a_columns_name_is_the_unit_of_its_schema(root):
    for path in sorted((root / "workflow" / "schemas" / "tables").glob("*.yaml")):
        for column in yaml.safe_load(path.read_text())["columns"]:
            for suffix, unit in UNITS.items():
                if column["name"].endswith(suffix):
                    assert column.get("unit") == unit, (path.name, column["name"])
