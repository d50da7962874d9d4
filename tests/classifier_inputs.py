"""A tiny cohort with labels, a trained classifier and its flags, for tests of the three scripts.

from classifier_inputs import make_classified
run = make_classified(tmp_path)     # 24 nodules of 12 patients; large ones are suspicious
train_classifier.main(run.train_flags())
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from model_factory import NUM_FOLDS, Cohort, make_cohort, tiny_settings

from quorum.shards import open_shards
from quorum.tables import write_table

RULE = "median_without_3"
SETTINGS = {
    "channels": [4, 8], "strides": [2, 2], "dropout": 0.0, "crop_vox": [16, 24, 24],
    "batch_size": 4, "max_steps": 6, "validate_every_steps": 3, "learning_rate": 0.01,
    "weight_decay": 0.0,
}  # fmt: skip
CHANGES = ("hu_window", "flip_axes", "max_shift_vox", "max_hidden_end_slices", "intensity",
           "elastic", "inputs")  # fmt: skip


@dataclass
class Classified:
    """Paths of a cohort, its labels, and what the scripts make of them."""

    cohort: Cohort
    labels: Path
    settings: dict = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.cohort.folder

    def data_flags(self) -> list:
        """Return the flags of labels, split and shards."""
        return [
            *("--labels", str(self.labels), "--label-rule", RULE),
            *("--splits", str(self.cohort.splits), "--shards", *self.cohort.shards),
        ]

    def train_flags(self, out: Path, *, fold=0, seed=0, **changes) -> list:
        """Return train_classifier's flags for one run that writes into `out`."""
        return [
            *self.data_flags(), "--settings", json.dumps(self.settings | changes),
            *("--fold", str(fold), "--num-folds", str(NUM_FOLDS), "--seed", str(seed)),
            *("--out-model", str(out / "model.pt"), "--out-history", str(out / "history.csv")),
        ]  # fmt: skip

    def score_flags(self, models: list, out: Path) -> list:
        """Return score_classifier's flags for some models."""
        return [
            *("--models", *map(str, models)), *self.data_flags(),
            *("--resamples", "50", "--seed", "0", "--out-scores", str(out / "scores.csv")),
            *("--out-summary", str(out / "summary.csv")),
            *("--out-calibration", str(out / "calibration.csv")),
        ]  # fmt: skip

    def explain_flags(self, out: Path) -> list:
        """Return explain_classifier's flags for the model and scores in `out`."""
        return [
            *("--model", str(out / "model.pt"), "--scores", str(out / "scores.csv")),
            *("--shards", *self.cohort.shards, "--num-nodules", "2", "--seed", "0"),
            *("--methods", "grad_cam", "cam", "occlusion", "--patch-vox", "8", "8", "8"),
            *("--out-maps", str(out / "maps.h5"), "--out-sanity", str(out / "sanity.csv")),
        ]


def make_classified(folder: Path, label=None) -> Classified:
    """Write a cohort in which each patient has a large and a small nodule, and its labels.

    Parameters
    ----------
    folder : Path
    label : callable, optional
        Diameter in mm to label; without it, what is larger than 10 mm is suspicious.
    """
    cohort = make_cohort(folder, radii_mm=[3.0, 7.5] * 6)
    cubes = open_shards(cohort.shards)
    label = label or (lambda diameter: "suspicious" if diameter > 10 else "unsuspicious")
    frame = pd.DataFrame({
        "nodule_id": [str(name) for name in cubes.nodule_id],
        "series_uid": [str(name) for name in cubes.source_series_uid],
        "patient_id": [str(name) for name in cubes.patient_id],
        "rule": RULE,
        "label": [label(float(diameter)) for diameter in np.asarray(cubes.diameter_mm)],
    })  # fmt: skip
    path = folder / "labels.csv"
    write_table(frame, path, "malignancy_labels", {"script": "classifier_inputs"})
    changes = {key: tiny_settings()[key] for key in CHANGES}
    return Classified(cohort, path, SETTINGS | changes)
