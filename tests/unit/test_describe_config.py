"""The generated page of keys, experiments, networks and tables."""

import describe_config
import pytest


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "integer >= 1"),
        ({"type": ["number", "null"], "exclusiveMinimum": 0}, "number > 0 or empty"),
        ({"enum": ["a", "b"]}, "`a`, `b`"),
        ({"type": "array", "items": {"type": "string"}}, "array of string"),
        ({"type": "null"}, "empty"),
        ({"anyOf": [{"enum": ["a"]}, {"type": "number", "maximum": 1}]}, "`a`, or number <= 1"),
    ],
)
def test_allowed_values_in_words(schema, words):
    assert describe_config.allowed(schema) == words


def test_keys_of_inner_blocks_are_dotted_and_carry_their_default():
    inner = {"type": "object", "properties": {"rate": {"description": "r"}}}
    block = {"properties": {"optimizer": inner, "steps": {"description": "s"}}}
    rows = describe_config.list_keys(block, {"optimizer": {"rate": 0.5}, "steps": 3})
    assert [(name, default) for name, _, default in rows] == [("optimizer.rate", 0.5), ("steps", 3)]


def test_bars_and_line_breaks_stay_inside_their_cell():
    assert describe_config.table_row(("a|b", "c\nd")) == r"| a\|b | c d |"


def test_every_row_of_the_page_has_as_many_cells_as_its_head():
    width = 0
    for line in describe_config.config_page().splitlines():
        cells = line.replace(r"\|", "").count("|")
        if line.startswith("|---"):
            assert cells == width
        elif line.startswith("|"):
            assert width in (0, cells), line
            width = cells
        else:
            width = 0


def test_the_page_is_written_whole(tmp_path):
    describe_config.main(["--out-page", str(tmp_path / "README.md")])
    assert (tmp_path / "README.md").read_text() == describe_config.config_page()
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
