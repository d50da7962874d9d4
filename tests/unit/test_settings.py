"""The closed configuration: what it refuses, and in which words."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorum import settings
from quorum.errors import InputError


@pytest.fixture
def config(root):
    """The default configuration."""
    return settings.load_yaml(root / "config" / "config.yaml")


@pytest.mark.parametrize("name", ["config", "sample", "lidc"])
def test_each_shipped_config_is_valid(root, config, name):
    settings.validate_config(
        settings.merge(config, settings.load_yaml(root / "config" / f"{name}.yaml"))
    )


def test_each_shipped_experiment_is_valid(root, config):
    config["experiments"] = sorted(p.stem for p in settings.EXPERIMENTS.glob("*.yaml"))
    settings.validate_config(config)


@pytest.mark.parametrize(
    ("diff", "phrases"),
    [
        ({"selct_nodules": {}}, ["'selct_nodules'", "'select_nodules', the nearest"]),
        ({"select_nodules": {"num_patient": 3}}, ["at select_nodules", "'num_patients'"]),
        ({"train_model": {"optimizer": {"rate": 1}}}, ["at train_model.optimizer", "'rate'"]),
        ({"source": {"kind": "phantm"}}, ["'phantm' at source.kind", "phantom"]),
        ({"consensus": "majorty"}, ["'majorty' at consensus", "reader4"]),
        ({"consensus": 0}, ["0 at consensus"]),
        ({"seeds": "[0..4]"}, ["'[0..4]' at seeds", "array"]),
        ({"experiments": ["unet3"]}, ["'unet3'", "'unet3d'"]),
        ({"experiments": ["zebra"]}, ["'zebra'", "one of"]),
        ({"run_folds": [5]}, ["[5]", "folds from 0 to 4"]),
        ({"select_nodules": {"min_annotations": 5}}, ["min_annotations is 5"]),
        (
            {"select_nodules": {"min_diameter_mm": 9, "max_diameter_mm": 8}},
            ["min_diameter_mm is 9", "max_diameter_mm 8"],
        ),
        ({"train_model": {"crop_vox": [48, 64, 64]}}, ["[48, 64, 64]", "[40, 80, 80]"]),
        ({"select_nodules": 3}, ["3 at select_nodules", "the cohort"]),
        ({"select_nodules": {"patients": ["0001"]}}, ["'0001' at select_nodules.patients.0"]),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(config, diff, phrases):
    with pytest.raises(InputError) as refusal:
        settings.validate_config(settings.merge(config, diff))
    for phrase in phrases:
        assert phrase in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_missing_key_is_named_with_its_meaning(config):
    del config["split_patients"]["num_folds"]
    with pytest.raises(InputError, match="lacks the key 'num_folds' at split_patients"):
        settings.validate_config(config)


def all_keys(schema: dict, path=()):
    """Yield the path of each key of a schema."""
    for name, inner in schema.get("properties", {}).items():
        yield (*path, name)
        yield from all_keys(inner, (*path, name))


KEYS = sorted(all_keys(settings.load_yaml(settings.SCHEMAS / "config.schema.yaml")))


@given(st.sampled_from(KEYS), st.data())
def test_any_key_with_one_letter_wrong_is_refused(key, data):
    """Also where a letter is lost: the schema is closed at every level."""
    config = settings.load_yaml(settings.ROOT / "config" / "config.yaml")
    place = data.draw(st.integers(0, len(key[-1]) - 1))
    wrong = key[-1][:place] + key[-1][place + 1 :] + "q"
    block = config
    for part in key[:-1]:
        block = block.setdefault(part, {})
    block[wrong] = copy.deepcopy(block.get(key[-1]))
    with pytest.raises(InputError) as refusal:
        settings.validate_config(config)
    assert repr(wrong) in str(refusal.value)


def test_an_experiment_is_a_diff_over_the_base(config, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    (tmp_path / "small.yaml").write_text("# Few steps.\noptimizer: {learning_rate: 0.5}\n")
    merged = settings.experiment_settings(config, "small")
    assert merged["optimizer"]["learning_rate"] == 0.5
    assert merged["optimizer"]["name"] == config["train_model"]["optimizer"]["name"]
    assert config["train_model"]["optimizer"]["learning_rate"] != 0.5


def test_another_network_takes_no_keys_of_the_bases_network(config, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    (tmp_path / "other.yaml").write_text("# Another.\nnetwork: {name: other, dropout: 0.5}\n")
    (tmp_path / "same.yaml").write_text("# The same.\nnetwork: {dropout: 0.5}\n")
    merged = settings.experiment_settings(config, "other")
    assert merged["network"] == {"name": "other", "dropout": 0.5}
    merged = settings.experiment_settings(config, "same")
    assert merged["network"] == config["train_model"]["network"] | {"dropout": 0.5}


def test_an_unknown_network_is_named_with_the_nearest(config, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    (tmp_path / "other.yaml").write_text("# Another.\nnetwork: {name: unet3}\n")
    config["experiments"] = ["other"]
    with pytest.raises(InputError, match=r"'unet3'.*'unet3d'"):
        settings.validate_config(config)


def test_an_experiment_with_an_unknown_key_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    (tmp_path / "small.yaml").write_text("# Few steps.\nmax_step: 3\n")
    config["experiments"] = ["small"]
    with pytest.raises(InputError, match=r"small\.yaml has .* 'max_step'.*'max_steps'"):
        settings.validate_config(config)


YAML = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3)),
    lambda inner: st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
BLOCK = st.dictionaries(st.text(max_size=2), YAML, max_size=3)


@given(BLOCK, BLOCK)
def test_merging_twice_is_merging_once_and_leaves_its_arguments(base, diff):
    before = copy.deepcopy((base, diff))
    merged = settings.merge(base, diff)
    assert settings.merge(merged, diff) == merged
    assert settings.merge(base, {}) == base
    assert (base, diff) == before


def test_only_the_root_expands_the_folder_of_real_data(config, tmp_path, monkeypatch):
    (tmp_path / "ct").mkdir()
    config["source"] |= {"kind": "local", "root": "$QUORUM_REAL_DATA/ct", "volumes": "$HOME/a.csv"}
    monkeypatch.setenv("QUORUM_REAL_DATA", str(tmp_path))
    source = settings.source_settings(config)
    assert source["root"] == str(tmp_path / "ct")
    assert source["volumes"] == "$HOME/a.csv"
    monkeypatch.delenv("QUORUM_REAL_DATA")
    with pytest.raises(InputError, match="QUORUM_REAL_DATA, which is not set"):
        settings.source_settings(config)


def test_a_source_of_our_own_is_in_the_working_folder(config):
    source = settings.source_settings(config)
    assert (source["kind"], source["root"]) == ("phantom", ".")
    assert source["rule"] == "simulate_series"


@pytest.mark.parametrize(
    ("folder", "phrase"), [(None, "source.root is empty"), ("/nowhere/at/all", "is no folder")]
)
def test_a_local_source_without_its_folder_is_refused(config, folder, phrase):
    config["source"] |= {"kind": "local", "root": folder}
    with pytest.raises(InputError, match=phrase):
        settings.source_settings(config)


def test_path_variables_are_filled_in(config):
    config["pathvars"]["results"] = "/tmp/other"
    path = settings.fill_in_path(config, "<benchmarks>/{shard}.tsv")
    assert path == "/tmp/other/benchmarks/{shard}.tsv"
    config["pathvars"]["results"] = "<logs>"
    with pytest.raises(InputError, match="in a circle"):
        settings.fill_in_path(config, "<benchmarks>")


def test_results_of_another_source_are_refused(config, tmp_path):
    config["pathvars"]["results"] = str(tmp_path / "results")
    settings.refuse_other_results(config)
    settings.claim_results(config)
    settings.refuse_other_results(config)
    config["select_nodules"]["num_patients"] = 1
    settings.refuse_other_results(config)
    config["source"]["kind"] = "local"
    with pytest.raises(InputError, match="holds results of the source"):
        settings.refuse_other_results(config)


def test_a_torn_marker_of_the_source_is_one_sentence(config, tmp_path):
    config["pathvars"]["results"] = str(tmp_path)
    (tmp_path / "source.json").write_text('{"kind": "pha')
    with pytest.raises(InputError, match=r"source\.json"):
        settings.refuse_other_results(config)


def test_values_of_the_command_line_get_the_schemas_types(config):
    """Snakemake hands over `--config block={key: 8}` as texts."""
    texts = {
        "select_nodules": {"num_patients": "8", "patients": ["LIDC-IDRI-0001"], "seed": "null"},
        "run_folds": ["0", "1"],
        "source": {"root": "null", "keep_dicom": "true"},
        "train_model": {"network": {"channels": ["4", "8"]}, "max_gradient_norm": "null"},
    }
    config = settings.merge(config, texts)
    settings.type_config(config)
    assert config["select_nodules"]["num_patients"] == 8
    assert config["select_nodules"]["patients"] == ["LIDC-IDRI-0001"]
    assert config["run_folds"] == [0, 1]
    assert config["source"]["root"] is None
    assert config["source"]["keep_dicom"] is True
    assert config["train_model"]["network"]["channels"] == [4, 8]
    assert config["train_model"]["max_gradient_norm"] is None
    with pytest.raises(InputError, match=r"'null' at select_nodules\.seed"):
        settings.validate_config(config)


@pytest.mark.parametrize("name", ["config", "sample", "lidc"])
def test_values_of_a_file_keep_their_types(root, config, name):
    config = settings.merge(config, settings.load_yaml(root / "config" / f"{name}.yaml"))
    before = copy.deepcopy(config)
    settings.type_config(config)
    assert config == before


def test_a_sweep_stands_for_its_points_and_has_seeds_of_its_own(config, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    grid = "sweep: {optimizer.learning_rate: [0.001, 0.00001], losses.dice: [1, 0.5]}\n"
    (tmp_path / "rates.yaml").write_text(f"{grid}seeds: [3, 4]\nbatch_size: 2\n")
    (tmp_path / "plain.yaml").write_text("")
    config["experiments"] = ["plain", "rates"]
    names = settings.experiment_names(config)
    assert names == [
        "plain",
        "rates~dice=1~learning_rate=0.001",
        "rates~dice=0.5~learning_rate=0.001",
        "rates~dice=1~learning_rate=1e-05",
        "rates~dice=0.5~learning_rate=1e-05",
    ]
    settings.validate_config(config)
    found = settings.experiment_settings(config, names[4])
    assert (found["optimizer"]["learning_rate"], found["losses"]["dice"]) == (1e-5, 0.5)
    assert found["batch_size"] == 2
    assert not {"sweep", "seeds"} & set(found)
    assert settings.experiment_diff(names[1])["losses"] == {"dice": 1}
    assert settings.seeds_of(config, names[4]) == [3, 4]
    assert settings.seeds_of(config, "plain") == config["seeds"]
    # A point may be named by itself, and what was expanded stays what it is.
    config["experiments"] = names
    assert settings.experiment_names(config) == names


def test_a_list_of_points_is_taken_as_it_is(config, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    points = "[{network: {name: vnet}, batch_size: 2}, {network.name: dynunet}]"
    (tmp_path / "some.yaml").write_text(f"sweep: {points}\n")
    config["experiments"] = ["some"]
    with pytest.raises(InputError, match="which is no name"):
        settings.experiment_names(config)
    (tmp_path / "some.yaml").write_text("sweep: [{batch_size: 2}, {network.name: dynunet}]\n")
    assert settings.experiment_names(config) == ["some~batch_size=2", "some~name=dynunet"]
    assert settings.experiment_settings(config, "some~name=dynunet")["network"] == {
        "name": "dynunet"
    }


@pytest.mark.parametrize(
    ("content", "name", "phrase"),
    [
        ("sweep: {batch_size: 2}", "bad", "the sweep {'batch_size': 2}"),
        ("sweep: []", "bad", "the sweep []"),
        ("sweep: {batch_size: [2, 2]}", "bad", "'bad~batch_size=2' twice"),
        ("sweep: {batch_sise: [2]}", "bad", "'batch_size', the nearest"),
        ("sweep: {batch_size: [2]}", "bad~batch_size=3", "'bad~batch_size=2', the nearest"),
        ("seeds: 3", "bad", "seeds"),
        ("", "bed~batch_size=3", "'bad', the nearest"),
    ],
)
def test_sweeps_that_cannot_be_run(config, monkeypatch, tmp_path, content, name, phrase):
    monkeypatch.setattr(settings, "EXPERIMENTS", tmp_path)
    (tmp_path / "bad.yaml").write_text(content)
    config["experiments"] = [name]
    with pytest.raises(InputError) as caught:
        settings.validate_config(config)
    assert phrase in str(caught.value)
