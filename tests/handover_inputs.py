"""What cards and summary read: a small cohort of synthetic cubes, scored and described.

from handover_inputs import make_handover
flags = make_handover(tmp_path)      # the flags of write_cards without --out-files
"""

import json
from pathlib import Path

import describe_splits
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from image_tables import arguments, fill_rows
from shard_factory import make_shard

from quorum.card_files import BLOCKS
from quorum.closed_schema import load_yaml
from quorum.comparison import NO_CLAIM
from quorum.consensus import level_mask
from quorum.predictions import ATTRIBUTES, PredictionsWriter
from quorum.shards import open_shards
from quorum.tables import write_table

ROOT = Path(__file__).resolve().parent.parent
SHAPE = (20, 40, 40)
MADE_BY = {"script": "tests"}
HEADER = {
    "00100040": {"vr": "CS", "Value": ["F"]},
    "00101010": {"vr": "AS", "Value": ["061Y"]},
}
EXPERIMENTS = {"threshold": 0.5, "unet3d": 0.8}


def make_handover(folder: Path, *, data_kind: str = "phantom", num_nodules: int = 6) -> list:
    """Write every input into `folder` and return the flags of write_cards but --out-files."""
    shard = make_shard(folder / "shard00.h5", num_nodules, shape=SHAPE, data_kind=data_kind)
    cubes = open_shards(shard)
    flags = {f"--{name}": path for name, path in cohort_tables(folder, cubes).items()}
    scores = {f"--{name}": flags[f"--{name}"] for name in ("nodules", "splits", "findings")}
    described = {"--out-table1": folder / "t1.csv", "--out-performance": folder / "p.csv"}
    paths = [write_scores(folder, cubes, name) for name in EXPERIMENTS]
    headers = {"--headers": folder / "headers.parquet"}
    words = [*arguments(scores, headers, described), "--scores", *map(str, paths)]
    describe_splits.main(words)
    single = {name: flags[name] for name in ("--agreement", "--attrition", "--findings")}
    single |= {"--dropped": flags["--dropped"], "--summary": write_means(folder, cubes)}
    single["--fifth-reader"] = write_fifth(folder, cubes)
    single |= {"--table1": folder / "t1.csv", "--performance": folder / "p.csv"}
    single |= {"--datasets": ROOT / "config" / "datasets.yaml", "--settings": settings(data_kind)}
    records = [write_record(folder, name, data_kind) for name in EXPERIMENTS]
    return [*arguments(single), "--scores", *map(str, paths), "--records", *map(str, records)]


def settings(data_kind: str) -> str:
    """Return the configuration's blocks that the cards speak of, as JSON."""
    config = load_yaml(ROOT / "config" / "config.yaml")
    config = {block: config[block] for block in BLOCKS}
    config["source"]["kind"] = "phantom" if data_kind == "phantom" else "local"
    return json.dumps({**config, "experiments": list(EXPERIMENTS)})


def cohort_tables(folder: Path, cubes) -> dict:
    """Write the tables of the cohort; the last patient is the test part."""
    uids = list(dict.fromkeys(cubes.source_series_uid))
    patients = list(dict.fromkeys(cubes.patient_id))
    rows = {
        "nodules": [
            {"nodule_id": n, "patient_id": p, "series_uid": s, "diameter_mm": d}
            for n, p, s, d in zip(
                cubes.nodule_id, cubes.patient_id, cubes.source_series_uid, cubes.diameter_mm,
                strict=True,
            )
        ],
        "splits": [
            {"patient_id": p, "part": "test" if p == patients[-1] else "fold0", "num_nodules": 2}
            for p in patients
        ],
        "findings": [
            {"series_uid": u, "source_series_uid": u, "data_kind": cubes.data_kind,
             "decision": "repaired" if k == 0 else "accepted", "manufacturer": "GE <script>1|2",
             "slice_spacing_mm": 2.5, "pixel_spacing_mm": 0.7}
            for k, u in enumerate(uids)
        ],
        "agreement": [
            {"nodule_id": cubes.nodule_id[0], "kind": "against_others", "reader_a": k,
             "dice": 0.7 + 0.1 * k}
            for k in (1, 2)
        ],
        "attrition": [
            {"step": 1, "criterion": "at least 4 annotations", "num_in": 9, "num_dropped": 3,
             "num_out": 6}
        ],
        "dropped": [],
    }  # fmt: skip
    paths = {name: folder / f"{name}.csv" for name in rows}
    for name, own in rows.items():
        table = {"dropped": "dropped_nodules"}.get(name, name)
        write_table(fill_rows(table, own), paths[name], table, MADE_BY)
    lines = [{"source_series_uid": uid, "header": json.dumps(HEADER)} for uid in uids]
    pq.write_table(pa.Table.from_pylist(lines), folder / "headers.parquet")
    return paths


def write_scores(folder: Path, cubes, name: str) -> Path:
    """Write one run's scores of all but the test part: the same Dice for each nodule."""
    rows = [
        {"experiment": name, "fold": 0, "seed": 0, "part": "fold0", "offset_mm": 0.0,
         "nodule_id": cubes.nodule_id[k], "patient_id": cubes.patient_id[k],
         "series_uid": cubes.source_series_uid[k], "data_kind": cubes.data_kind,
         "subject": "model", "reference": "consensus", "dice": EXPERIMENTS[name]}
        for k in range(len(cubes) - 2)
    ]  # fmt: skip
    path = folder / f"scores-{name}.csv"
    write_table(fill_rows("scores", rows), path, "scores", MADE_BY)
    return path


def write_means(folder: Path, cubes) -> Path:
    """Write the summary: Dice and hit rate of each experiment."""
    own = {"reference": "consensus", "subset": "whole", "num_nodules": len(cubes) - 2,
           "num_patients": 2, "data_kind": cubes.data_kind}  # fmt: skip
    rows = []
    for name, dice in EXPERIMENTS.items():
        same = {**own, "experiment": name}
        rows.append({**same, "measure": "dice", "value": dice, "low": dice - 0.1,
                     "high": dice + 0.1})  # fmt: skip
        others = {**same, "reference": "others", "low": 0.3, "high": 0.9}
        rows.append({**others, "measure": "dice", "value": dice - 0.05})
        rows.append({**others, "measure": "reader_dice", "value": 0.77})
        # Truncated nodules stand apart and are in no headline.
        rows.append({**others, "subset": "truncated", "measure": "dice", "value": 0.11})
        rows.append({**same, "measure": "hit_rate", "value": 0.75, "low": 0.5, "high": 1.0})
    path = folder / "summary.csv"
    write_table(fill_rows("summary", rows), path, "summary", MADE_BY)
    return path


def write_fifth(folder: Path, cubes) -> Path:
    """Write the fifth reader test of cross-validation: both endpoints, no verdict."""
    rows = [
        {"experiment": name, "part": "cross_validation", "data_kind": cubes.data_kind,
         "endpoint": endpoint, "num_nodules": 4, "num_patients": 2, "difference": difference,
         "low": -0.04, "high": 0.02, "margin": 0.03, "verdict": "none",
         "no_verdict_reason": NO_CLAIM[cubes.data_kind]}
        for name in EXPERIMENTS
        for endpoint, difference in (("others", -0.02), ("readers", -0.01))
    ]  # fmt: skip
    path = folder / "fifth_reader.csv"
    write_table(fill_rows("fifth_reader", rows), path, "fifth_reader", MADE_BY)
    return path


def write_record(folder: Path, name: str, data_kind: str) -> Path:
    """Write one run's record."""
    block = load_yaml(ROOT / "config" / "config.yaml")["train_model"]
    is_network = name.startswith("unet")
    block = {**block, "method": "network" if is_network else name}
    record = {
        "experiment": name,
        "fold": 0,
        "seed": 0,
        "data_kind": data_kind,
        "duration_s": 12.0,
        "num_parameters": 1234567,
        "num_steps": 100,
        "answer": {"threshold": 0.75, "postprocess": "component", "validation_dice": 0.7},
        "plan": {"name": name, "settings": block},
        "hardware": {"processor": "a processor", "gpu": None},
        "made_by": {"versions": {"quorum": "0.1.0", "torch": "2.0.1"}},
    }
    path = folder / f"record-{name}.json"
    path.write_text(json.dumps(record))
    return path


def write_predictions(folder: Path, cubes, name: str = "unet3d") -> Path:
    """Write one run's predictions: the majority, moved further with each nodule."""
    attributes = {
        **dict.fromkeys(ATTRIBUTES, 0),
        **{"experiment": name, "part": "fold0", "data_kind": cubes.data_kind, "threshold": 0.5},
        **{"postprocess": "none", "method": "network", "made_by": {}},
    }
    path, names = folder / f"predictions-{name}.h5", [str(n) for n in cubes.nodule_id]
    sizes = {"offsets_mm": [0.0, 4.0], "cube_vox": cubes.shape_vox}
    with PredictionsWriter(path, attributes, nodule_id=names, **sizes) as writer:
        for row in range(len(names)):
            mask = level_mask(cubes.readers(row), int(cubes.num_readers[row]), 0.5)
            moved = np.roll(mask, row, axis=2) * 0.9
            box = [0, 0, 0, *cubes.shape_vox]
            for column in (0, 1):
                writer.put(row, column, click=[10, 20, 20], box=box, probability=moved)
    return path
