"""A small complete set of the report's inputs, made by the real writers where they are fast.

    from report_inputs import make_inputs
    flags = make_inputs(tmp_path)          # then write_report.main([*flags, "--out-page", ...])

Cubes come from shard_factory, scores and summary from score_predictions and compare_experiments;
the other tables hold invented rows in the tables' own schemas.
"""

import json
from pathlib import Path

import compare_experiments
import numpy as np
import pandas as pd
import score_predictions
from evaluation_rows import evaluation_rows
from shard_factory import make_shard

from quorum.consensus import level_mask
from quorum.predictions import PredictionsWriter
from quorum.ratings import RATINGS
from quorum.shards import open_shards
from quorum.tables import load_schema, write_table

ROOT = Path(__file__).resolve().parent.parent
MADE_BY = {
    "script": "report_inputs",
    "code_digest": "0" * 16,
    "config_digest": "1" * 16,
    "versions": {"quorum": "0"},
}
EMPTY = {"string": "x", "integer": 1, "number": 1.0, "boolean": False}
SETTINGS = {
    "source": {"kind": "phantom"},
    "select_nodules": {"min_annotations": 4, "max_annotations": 4},
    "split_patients": {"num_folds": 5},
    "consensus": "majority",
    "experiments": ["threshold", "unet3d"],
}


def fill(rows: list, table: str) -> pd.DataFrame:
    """Return rows with every column of the schema; what isn't given is missing or invented."""
    columns = load_schema(table)["columns"]
    full = []
    for row in rows:
        full.append({
            c["name"]: row.get(c["name"], None if c.get("nullable") else EMPTY.get(c["dtype"], []))
            for c in columns
        })  # fmt: skip
    return pd.DataFrame(full, columns=[c["name"] for c in columns])


def save(folder: Path, name: str, rows: list, table: str) -> str:
    """Write a table and return its path."""
    path = folder / f"{name}.csv"
    write_table(fill(rows, table), path, table, MADE_BY)
    return str(path)


def make_inputs(
    folder,
    num_nodules: int = 8,
    *,
    data_kind: str = "phantom",
    experiments=("threshold", "unet3d"),
    num_scored: int | None = None,
    has_evaluation: bool = False,
) -> list:
    """Write all inputs into `folder` and return the script's input flags.

    Parameters
    ----------
    folder : str or Path
    num_nodules : int
        Cubes, in two shards; patients have two each.
    data_kind : str
    experiments : sequence of str
    num_scored : int or None
        Nodules with predictions, from the first; None: all but the last patient's.
    has_evaluation : bool
        Add the tables of the evaluation, with invented numbers.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    first, second = num_nodules - num_nodules // 2, num_nodules // 2
    shards = [
        str(make_shard(folder / "shard00.h5", first, data_kind=data_kind)),
        str(make_shard(folder / "shard01.h5", second, data_kind=data_kind, first=first)),
    ]
    cubes = open_shards(shards)
    scored = max(num_nodules - 2, 0) if num_scored is None else num_scored
    flags = cohort_flags(folder, cubes, shards)
    runs = [make_run(folder, cubes, name, scored) for name in experiments]
    for flag in ("histories", "records", "predictions"):
        flags += [f"--{flag}", *[run[flag] for run in runs]]
    flags += score_flags(folder, shards, runs)
    if has_evaluation:
        # Last of score_flags is --tables.
        tables = evaluation_rows(cubes, experiments, scored)
        flags += [save(folder, table, rows, table) for table, rows in tables.items()]
    return flags + other_flags(folder, data_kind, experiments)


def score_flags(folder: Path, shards: list, runs: list) -> list:
    """Return the flags of scores and their summary, made by the real scripts."""
    scores, tables = [], []
    for run in runs:
        paths = [str(folder / f"{run['experiment']}-{name}.csv")
                 for name in ("scores", "nodule_scores", "calibration")]  # fmt: skip
        score_predictions.main([
            "--predictions", run["predictions"], "--shards", *shards, "--consensus", "majority",
            "--splits", str(folder / "splits.csv"), "--agreement", str(folder / "agreement.csv"),
            "--out-scores", paths[0], "--out-nodules", paths[1], "--out-calibration", paths[2],
        ])  # fmt: skip
        scores, tables = [*scores, paths[0]], [*tables, *paths[1:]]
    summary, offsets = str(folder / "summary.csv"), str(folder / "offsets.csv")
    more = ("pairs", "spread", "ranks", "bland-altman", "calibration")
    compare_experiments.main([
        "--scores", *scores, "--resamples", "200", "--seed", "0",
        "--nodule-scores", *tables[::2], "--calibrations", *tables[1::2],
        "--plan", str(ROOT / "config" / "analysis_plan.yaml"),
        *[word for name in more for word in (f"--out-{name}", str(folder / f"{name}.csv"))],
        "--out-summary", summary, "--out-offsets", offsets,
    ])  # fmt: skip
    return [
        "--scores", *scores, "--summary", summary, "--offsets", offsets, "--tables", *tables,
    ]  # fmt: skip


def other_flags(folder: Path, data_kind: str, experiments) -> list:
    """Return the flags of papers, benchmarks and configuration."""
    kind = "phantom" if data_kind == "phantom" else "local"
    settings = {**SETTINGS, "source": {"kind": kind}, "experiments": list(experiments)}
    bench = folder / "benchmarks" / "extract_cubes"
    bench.mkdir(parents=True, exist_ok=True)
    (bench / "shard00.tsv").write_text("s\th:m:s\tmax_rss\n3.5\t0:00:03\t120.5\n")
    published = sorted(str(path) for path in (ROOT / "config" / "published").glob("*.yaml"))
    return [
        "--published", *published, "--datasets", str(ROOT / "config" / "datasets.yaml"),
        "--benchmarks", str(folder / "benchmarks"),
        "--settings", json.dumps(settings),
    ]  # fmt: skip


def cohort_flags(folder: Path, cubes, shards) -> list:
    """Return the flags of every table that speaks of the cohort."""
    ids, patients = list(cubes.nodule_id), list(cubes.patient_id)
    uids = list(cubes.source_series_uid)
    tables = {
        "series": [{"series_uid": uid, "patient_id": patient, "license": "CC BY 3.0"}
                   for uid, patient in dict(zip(uids, patients, strict=True)).items()],
        "nodules": nodule_rows(cubes),
        "attrition": attrition_rows(len(ids)),
        "agreement": agreement_rows(ids),
        "shard_plan": [{"shard": f"shard{k:02d}"} for k in range(2)],
        "splits": split_rows(patients),
        "checks": [
            {"check": "spacing", "scope": "all", "is_passed": True, "value": 1.0, "limit": 1.0},
            {"check": "patients apart", "scope": "all", "is_passed": True, "detail": "a < b & c"},
        ],
        "volumes": volume_rows(cubes),
    }  # fmt: skip
    flags = []
    for table, rows in tables.items():
        flags += [f"--{table.replace('_', '-')}", save(folder, table, rows, table)]
    findings = [
        {"series_uid": uid, "source_series_uid": uid, "patient_id": patient,
         "decision": "repaired" if k == 0 else "accepted", "num_files": 40,
         "reason": "1 slice left out <doubled>" if k == 0 else None}
        for k, (uid, patient) in enumerate(dict(zip(uids, patients, strict=True)).items())
    ]  # fmt: skip
    return [
        *flags, "--shards", *shards,
        "--findings", save(folder, "findings", findings, "findings"),
        "--dropped", save(folder, "dropped", [], "dropped_nodules"),
    ]  # fmt: skip


def nodule_rows(cubes) -> list:
    """Return the cubes' rows of nodules.csv."""
    rows = []
    for k, nodule in enumerate(cubes.nodule_id):
        row = {
            "nodule_id": nodule,
            "series_uid": cubes.source_series_uid[k],
            "patient_id": cubes.patient_id[k],
            "annotation_ids": cubes.annotation_ids[k].split(),
            "num_annotations": int(cubes.num_readers[k]),
            "is_unresolved": False,
            "diameter_mm": float(cubes.diameter_mm[k]),
        }
        for place, rating in enumerate(RATINGS):
            values = cubes.columns["ratings"][k, place, : row["num_annotations"]]
            row[f"{rating}_values"] = [float(v) for v in values]
            row[f"{rating}_median"] = float(np.median(values))
            row[f"{rating}_spread"] = float(np.ptp(values))
        rows.append(row)
    return rows


def attrition_rows(num_nodules: int) -> list:
    """Return three criteria that leave `num_nodules`."""
    counts = [num_nodules + 30, num_nodules + 9, num_nodules + 4, num_nodules]
    words = ["no group of more than 4", "4 annotations", "among 30 drawn patients <seed 0>"]
    return [
        {"step": k + 1, "criterion": word, "num_in": counts[k], "num_out": counts[k + 1],
         "num_dropped": counts[k] - counts[k + 1], "note": None}
        for k, word in enumerate(words)
    ]  # fmt: skip


def agreement_rows(ids) -> list:
    """Return six pairs and four readers against the others for every nodule; one pair is empty."""
    generator = np.random.default_rng(0)
    rows = []
    for nodule in ids:
        base = generator.uniform(0.6, 0.9)
        for a in range(1, 5):
            for b in [*range(a + 1, 5), None]:
                dice = float(np.clip(base + generator.normal(0, 0.04), 0, 1))
                rows.append({
                    "nodule_id": nodule, "kind": "pair" if b else "against_others",
                    "reader_a": a, "reader_b": b, "dice": dice, "iou": dice / (2 - dice),
                    "hd95_mm": 1.5, "assd_mm": 0.4, "is_empty_mask": False,
                })  # fmt: skip
    if rows:
        rows[0].update(dice=0.0, iou=0.0, hd95_mm=None, assd_mm=None, is_empty_mask=True)
    return rows


def split_rows(patients) -> list:
    """Return fold 0 for all patients but the last, which are the locked test part."""
    unique = sorted(set(patients))
    return [
        {"patient_id": patient, "part": "test" if patient == unique[-1] else "fold0",
         "num_nodules": patients.count(patient)}
        for patient in unique
    ]  # fmt: skip


def volume_rows(cubes) -> list:
    """Return each consensus' volume, 1 % larger on the grid."""
    return [
        {"nodule_id": nodule, "subject": "consensus", "volume_native_mm3": 1000.0,
         "volume_grid_mm3": 1010.0, "diameter_mm": float(cubes.diameter_mm[k]),
         "data_kind": cubes.data_kind}
        for k, nodule in enumerate(cubes.nodule_id)
    ]  # fmt: skip


def make_run(folder: Path, cubes, experiment: str, num_scored: int) -> dict:
    """Write one run's predictions, history and record; the network is the closer one."""
    is_network = experiment.startswith("unet")
    predictions = folder / f"{experiment}.h5"
    attributes = {
        "experiment": experiment, "fold": 0, "seed": 0, "part": "fold0", "threshold": 0.5,
        "data_kind": cubes.data_kind, "method": "network" if is_network else experiment,
        "made_by": {},
    }  # fmt: skip
    sizes = {"offsets_mm": [0.0, 4.0], "cube_vox": cubes.shape_vox}
    ids = list(cubes.nodule_id[:num_scored])
    whole = [0, 0, 0, *cubes.shape_vox]
    with PredictionsWriter(predictions, attributes, nodule_id=ids, **sizes) as writer:
        for row in range(num_scored):
            mask = level_mask(cubes.readers(row), int(cubes.num_readers[row]), 0.5)
            for column, shift in enumerate((row % 3, row % 3 + 2)):
                moved = np.roll(mask, shift if is_network else shift + 3, axis=2)
                writer.put(row, column, click=[20, 40, 40], box=whole, probability=moved * 0.9)
    history = []
    for step in range(1, 61) if is_network else []:
        history.append({
            "experiment": experiment, "fold": 0, "seed": 0, "step": step, "epoch": step // 10,
            "loss": 1 / step**0.5, "learning_rate": 0.001, "duration_s": 0.5,
            "validation_dice": 0.8 - 1 / step if step % 20 == 0 else None,
            "data_kind": cubes.data_kind,
        })  # fmt: skip
    record = folder / f"{experiment}-record.json"
    record.write_text(json.dumps({"experiment": experiment, "fold": 0, "seed": 0}))
    return {
        "experiment": experiment,
        "predictions": str(predictions),
        "histories": save(folder, f"{experiment}-history", history, "history"),
        "records": str(record),
    }
