"""README, config/README.md and the commands that they name are those that exist."""

import re

import yaml
from workflow_copy import ROOT

from quorum.settings import EXPERIMENTS, SCHEMAS, load_yaml

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def leaves(block: dict, path=()) -> set:
    """Return the dotted paths of a mapping's leaves."""
    found = set()
    for key, value in block.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key)}
    return found


def schema_leaves(schema: dict, path=()) -> set:
    """Return the dotted paths of a schema's leaves."""
    found = set()
    for key, inner in schema["properties"].items():
        found |= schema_leaves(inner, (*path, key)) if "properties" in inner else {(*path, key)}
    return found


def test_keys_of_the_config_are_keys_of_the_schema():
    config = leaves(load_yaml(ROOT / "config" / "config.yaml"))
    schema = schema_leaves(load_yaml(SCHEMAS / "config.schema.yaml"))
    own = {path for path in config if path[:2] == ("train_model", "network")}
    losses = {path for path in schema if path[:2] == ("train_model", "losses")}
    assert config - own <= schema
    assert schema - losses <= config


def test_the_schema_is_closed_at_every_level_and_says_what_each_key_means():
    def check(schema, place):
        for name, inner in schema["properties"].items():
            assert inner["description"], (*place, name)
            if "properties" in inner:
                check(inner, (*place, name))
            else:
                assert inner["x-source"], (*place, name)
        closed = schema["additionalProperties"] is False
        assert closed or schema["x-closed-by"] == "quorum.networks.complete_network", place

    check(load_yaml(SCHEMAS / "config.schema.yaml"), ())


def test_a_unit_in_a_keys_name_is_the_unit_of_its_schema():
    units = {"_mm": "mm", "_hu": "HU", "_vox": "voxel", "_deg": "degree", "_gb": "GB"}

    def check(schema):
        for name, inner in schema["properties"].items():
            if "properties" in inner:
                check(inner)
            for suffix, unit in units.items():
                if name.endswith(suffix):
                    assert inner["x-unit"] == unit, name

    check(load_yaml(SCHEMAS / "config.schema.yaml"))


def test_each_key_is_read_by_a_rule():
    rules = "".join(p.read_text() for p in (ROOT / "workflow" / "rules").glob("*.smk"))
    library = (ROOT / "scripts" / "quorum").glob("*settings.py")
    settings = "".join(path.read_text() for path in library)
    for block, inner in load_yaml(SCHEMAS / "config.schema.yaml")["properties"].items():
        if block in ("pathvars", "train_model"):
            continue
        assert f'config["{block}"]' in rules + settings, block
        whole = re.search(rf'json\.dumps\(config\["{block}"\]', rules)
        for key in inner.get("properties", {}) if not whole else ():
            assert re.search(rf'\["{key}"\]|"{key}"', rules + settings), f"{block}.{key}"


def test_the_config_page_is_current():
    from describe_config import config_page

    page = (ROOT / "config" / "README.md").read_text()
    assert page == config_page(), "run `make docs`"


def test_the_config_page_holds_each_key_and_each_experiment():
    page = (ROOT / "config" / "README.md").read_text()
    for path in schema_leaves(load_yaml(SCHEMAS / "config.schema.yaml")):
        assert f"| `{path[-1]}`" in page or f"| `{'.'.join(path[1:])}`" in page, path
    for path in EXPERIMENTS.glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        assert first.startswith("# "), path
        assert f"| `{path.stem}` | {first[2:].strip()} |" in page


def test_the_readme_is_short_and_its_make_commands_exist():
    assert len(README.splitlines()) <= 80
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
    commands = re.findall(r"\bmake ([a-z-]+)", README)
    assert {"run", "test"} <= set(commands)
    assert set(commands) <= targets


def test_files_that_the_readme_names_exist():
    for path in re.findall(r"(?:config|workflow|scripts|envs|tests)/[\w./-]+\w", README):
        if "<" not in path:
            assert (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_licence_and_citations_are_named():
    for phrase in ("Apache-2.0", "CC BY 3.0", "10.1118/1.3528204", "10.7937/k9/tcia.2015.lo9ql9sx"):
        assert phrase.lower() in README.lower(), phrase
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")


def test_test_data_has_its_provenance():
    listed = (ROOT / "tests" / "data" / "README.md").read_text()
    for path in sorted((ROOT / "tests" / "data").rglob("*")):
        if path.is_file() and path.name != "README.md":
            assert path.name in listed, path
