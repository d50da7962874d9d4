"""A small cohort, split and plan for tests of the rules from plan_experiment on.

from model_factory import make_cohort, train_flags
cohort = make_cohort(tmp_path)             # two shards, 10 patients in 5 folds, 2 in the test part
plan = cohort.plan("tiny", method="threshold")
"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from shard_factory import make_shard

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from quorum.closed_schema import load_yaml, merge  # noqa: E402

SHAPE = (20, 40, 40)
NUM_FOLDS = 5
TINY = {
    "network": {
        "name": "unet3d",
        "channels": [4, 8],
        "strides": [2],
        "num_res_units": 1,
        "dropout": 0.1,
    },
    "crop_vox": [16, 32, 32],
    "training_crop_vox": None,
    "intensity": {"max_shift_hu": 0.0, "max_scale": 0.0, "noise_hu": 0.0},
    "max_hidden_end_slices": 0,
    "optimizer": {"name": "adamw", "learning_rate": 0.003, "weight_decay": 0.01},
    "accumulate_batches": 1,
    "patience_validations": None,
    "max_gradient_norm": 12.0,
    "max_shift_vox": [2, 4, 4],
    "batch_size": 2,
    "max_steps": 6,
    "validate_every_steps": 3,
    "checkpoint_every_steps": 2,
    "schedule": {"name": "cosine", "warmup_steps": 2},
    "ema_decay": 0.9,
    "elastic": {"max_displacement_vox": 0.0, "grid_vox": 16},
    "postprocess": ["component", "holes"],
    "chosen_against": "consensus",
    "speed": {"precision": "fp32", "is_channels_last": True, "is_compiled": False},
    "is_deterministic": True,
}


def tiny_settings(**changes) -> dict:
    """Return the default's block train_model, made tiny, with changes laid over it.

    Whatever the default may become one day that would change these tests is set in TINY.
    """
    base = load_yaml(ROOT / "config" / "config.yaml")["train_model"]
    return copy.deepcopy(merge(merge(base, TINY), changes))


@dataclass
class Cohort:
    """Paths of a small cohort in one folder."""

    folder: Path
    shards: list
    splits: Path

    def plan(self, name="tiny", consensus="majority", **changes) -> Path:
        """Write a plan and return its path."""
        path = self.folder / f"{name}.yaml"
        plan = {"name": name, "consensus": consensus, "settings": tiny_settings(**changes)}
        path.write_text(yaml.safe_dump(plan))
        return path

    def train_flags(self, plan: Path, out: Path, *, fold=0, seed=0) -> list:
        """Return train_model's flags for one run that writes into `out`."""
        return [
            *("--plan", str(plan), "--splits", str(self.splits), "--shards", *self.shards),
            *("--fold", str(fold), "--num-folds", str(NUM_FOLDS), "--seed", str(seed)),
            *("--threads", "1", "--checkpoints", str(out / "checkpoints")),
            *("--out-model", str(out / "model.pt"), "--out-history", str(out / "history.csv")),
            *("--out-record", str(out / "record.json")),
        ]

    def predict_flags(self, plan: Path, out: Path, *, part="fold0", offsets=(0, 4)) -> list:
        """Return predict_cubes' flags for the model in `out`."""
        return [
            *("--plan", str(plan), "--model", str(out / "model.pt")),
            *("--splits", str(self.splits), "--shards", *self.shards, "--part", part),
            *("--click-offsets-mm", *map(str, offsets), "--flips", "True", "--seed", "0"),
            *("--threads", "1", "--out-predictions", str(out / "predictions.h5")),
        ]


def make_cohort(folder: Path, **options) -> Cohort:
    """Write two shards and a split of 12 patients with two nodules each."""
    settings = {"shape": SHAPE, "seed": 1, **options}
    shards = [
        str(make_shard(folder / f"shard0{k}.h5", 12, first=12 * k, **settings)) for k in (0, 1)
    ]
    parts = [f"fold{k % NUM_FOLDS}" if k < 10 else "test" for k in range(12)]
    patients = [f"TEST-{k:04d}" for k in range(12)]
    splits = folder / "splits.csv"
    frame = pd.DataFrame({"patient_id": patients, "part": parts, "num_nodules": 2})
    frame.to_csv(splits, index=False)
    return Cohort(folder, shards, splits)
