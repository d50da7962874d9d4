"""The page for a meeting: one page, its words, its nodules by rank, and a phantom's label."""

import argparse

import matplotlib
import numpy as np
import pytest
import write_summary
from handover_inputs import SHAPE, make_handover, write_predictions
from shard_factory import make_shard

from quorum.card_inputs import add_inputs, read_facts
from quorum.errors import InputError
from quorum.meeting_page import draw_page, numbers_in, pick_nodules
from quorum.shards import open_shards


def write(folder, *, data_kind="phantom"):
    """Write a run's summary; return its path and the flags."""
    flags = make_handover(folder, data_kind=data_kind)
    cubes = open_shards(folder / "shard00.h5")
    flags += ["--shards", str(folder / "shard00.h5")]
    flags += ["--predictions", str(write_predictions(folder, cubes))]
    path = folder / "summary.pdf"
    write_summary.main([*flags, "--out-summary", str(path)])
    return path, flags


def words_of(folder, data_kind) -> str:
    """Return every word that is drawn on a run's page."""
    flags = make_handover(folder, data_kind=data_kind)
    parser = argparse.ArgumentParser()
    add_inputs(parser)
    facts = read_facts(parser.parse_args(flags))
    cubes = open_shards(folder / "shard00.h5")
    examples = pick_nodules(facts, cubes, [write_predictions(folder, cubes)])
    texts = draw_page(facts, examples).findobj(matplotlib.text.Text)
    return " ".join(" ".join(text.get_text().split()) for text in texts)


def test_one_page_that_says_phantom_and_is_the_same_each_time(tmp_path):
    path, flags = write(tmp_path)
    first = path.read_bytes()
    assert first.startswith(b"%PDF")
    assert first.count(b"/Type /Page\n") + first.count(b"/Type /Page ") == 1
    assert b"phantom images" in first  # the document's title
    write_summary.main([*flags, "--out-summary", str(path)])
    assert path.read_bytes() == first


def test_the_words_of_the_page_are_the_runs(tmp_path):
    for kind in ("phantom", "cut_out"):
        (tmp_path / kind).mkdir()
        words = words_of(tmp_path / kind, kind)
        assert ("PHANTOM IMAGES" in words) == (kind == "phantom")
        assert ("phantom" in words.lower()) == (kind == "phantom")
        assert ("optimistic" in words) == (kind == "cut_out")
        assert "0.750 (0.300 to 0.900) reader 0.770 (0.300 to 0.900)" in words
        assert "0.850" not in words  # readers of other nodules on another grid
        assert "margin 0.03: no verdict" in words
        assert "6 nodules of 3 patients, each outlined by 4 readers; 4 scored" in words
        assert "50% of nodules are below: Dice" in words


def test_nodules_are_picked_by_rank_alone(tmp_path):
    cubes = open_shards(make_shard(tmp_path / "s.h5", 11, shape=SHAPE))
    path = write_predictions(tmp_path, cubes)
    facts = {"network": {"name": "unet3d"}, "consensus": "majority"}
    picked = pick_nodules(facts, cubes, [path])
    dice = [one["dice"] for one in picked]
    assert dice == sorted(dice)
    every = []
    for k in range(len(cubes)):
        mask = np.bitwise_count(cubes.readers(k)) >= 2
        moved = np.roll(mask, k, axis=2)
        every.append(2 * (mask & moved).sum() / (mask.sum() + moved.sum()))
    np.testing.assert_allclose(dice, np.sort(every)[[1, 5, 9]])
    assert all(one["image"].shape == SHAPE[1:] for one in picked)
    assert pick_nodules({"network": None}, cubes, [path]) == []


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("0.801 (0.761 to 0.831)", [0.801, 0.761, 0.831]),
        ("0.762 (no interval: one patient)", [0.762, np.nan, np.nan]),
        ("not reported", [np.nan] * 3),
    ],
)
def test_numbers_in_words(words, numbers):
    np.testing.assert_array_equal(numbers_in(words), numbers)


def test_predictions_of_another_cohort_or_none_are_refused(tmp_path):
    _, flags = write(tmp_path)
    other = make_shard(tmp_path / "other.h5", 2, shape=SHAPE, first=40)
    changed = [str(other) if flag == str(tmp_path / "shard00.h5") else flag for flag in flags]
    out = ["--out-summary", str(tmp_path / "new.pdf")]
    with pytest.raises(InputError, match="which the shards lack"):
        write_summary.main([*changed, *out])
    folder = tmp_path / "more"
    folder.mkdir()
    stranger = write_predictions(folder, open_shards(tmp_path / "shard00.h5"), "other")
    with pytest.raises(InputError, match="no predictions of the experiment unet3d were given"):
        write_summary.main([*flags[:-1], str(stranger), *out])
    assert not (tmp_path / "new.pdf").exists()
