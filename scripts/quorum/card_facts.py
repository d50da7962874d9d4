"""The run's own numbers for cards, checklists and the summary, as words that a page can print."""

import json
import re

import numpy as np
import pandas as pd

from quorum.consensus import TIE_RULE
from quorum.errors import InputError
from quorum.fifth_words import fifth_words
from quorum.frozen_plan import TEST
from quorum.patient_facts import UNKNOWN
from quorum.training_words import (
    NOTHING,
    hardware_words,
    loss_words,
    regularization_words,
    training_words,
)

KIND_WORDS = {
    "phantom": "phantom series",
    "scan": "whole scans",
    "cut_out": "volumes cut out around nodules",
}
PHANTOM_MARK = "**PHANTOM IMAGES: no number here speaks of a patient or of a method's worth.** "


def interval(row, digits: int = 3) -> str:
    """Return a mean with its interval, such as `0.801 (0.761 to 0.831)`."""
    if row is None or pd.isna(row["value"]):
        return NOTHING
    words = f"{row['value']:.{digits}f}"
    if pd.isna(row["low"]):
        return f"{words} (no interval: one patient)"
    return f"{words} ({row['low']:.{digits}f} to {row['high']:.{digits}f})"


def pick(frame, **wanted):
    """Return the one row with these values, None where there is none."""
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    return frame.iloc[0] if len(frame) else None


def plain(words) -> str:
    """Return words of a header as text that neither opens a tag nor ends a table's cell."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", str(words)).replace("|", "/")


def experiment_facts(name: str, records: list, summary) -> dict:
    """Return what is said of one experiment.

    Parameters
    ----------
    name : str
    records : list of dict
        Its runs' record.json.
    summary : DataFrame
        Of compare_experiments.
    """
    settings = records[0].get("plan", {}).get("settings", {})
    own = {"experiment": name, "reference": "consensus", "subset": "whole"}
    dice, empty, hit = (
        pick(summary, measure=measure, **own) for measure in ("dice", "share_empty", "hit_rate")
    )
    method, network = settings.get("method", UNKNOWN), settings.get("network", {}).get("name")
    is_network = method == "network"
    answers = [record.get("answer", {}) for record in records]
    words = [f"{a.get('threshold')}, {a.get('postprocess')}" for a in answers if a]
    durations = [r["duration_s"] for r in records if r.get("duration_s") is not None]
    return {
        "name": name,
        "method": method,
        "is_network": is_network,
        "inputs": settings.get("inputs", "image"),
        "words": f"network {network}, target {settings.get('target')}"
        if is_network
        else f"baseline {method}",
        "network": network,
        "num_parameters": records[0].get("num_parameters") if is_network else None,
        "num_steps": records[0].get("num_steps") if is_network else None,
        "answers": "; ".join(words) or NOTHING,
        "dice": interval(dice),
        **others_facts(name, summary),
        "num_nodules": NOTHING if dice is None else int(dice["num_nodules"]),
        "num_patients": NOTHING if dice is None else int(dice["num_patients"]),
        "share_empty": NOTHING if empty is None else f"{empty['value']:.3f}",
        "failure_rate": NOTHING if hit is None else f"{1 - hit['value']:.3f}",
        "duration_s": float(np.sum(durations)) if durations else None,
        "hardware": hardware_words(records[0].get("hardware", {})),
        "losses": loss_words(settings.get("losses", {})),
        **used_facts(settings, answers),
        "flips": ", ".join(settings.get("flip_axes", [])) or "none",
        "training": training_words(settings) if is_network else "",
        "regularization": regularization_words(settings) if is_network else "",
        "num_flipped": sum(bool(a.get("is_flipped")) for a in answers),
        "num_runs": len(records),
        "hu_window": settings.get("hu_window"),
    }


def used_facts(settings: dict, answers: list) -> dict:
    """Return what of a training has a paper to be cited: losses, optimizer, post-processing."""
    steps = {step for answer in answers for step in str(answer.get("postprocess")).split("+")}
    return {
        "loss_names": [name for name, weight in settings.get("losses", {}).items() if weight],
        "optimizer": settings.get("optimizer", {}).get("name"),
        "steps": sorted(steps),
    }


def others_facts(name: str, summary) -> dict:
    """Return model and reader left out, both against the majority of the same others."""
    own = {"experiment": name, "reference": "others", "subset": "whole"}
    model, reader = (pick(summary, measure=one, **own) for one in ("dice", "reader_dice"))
    return {
        "dice_others": interval(model),
        "reader_others": interval(reader),
        "num_others": NOTHING if model is None else int(model["num_nodules"]),
    }


def part_facts(table1) -> list:
    """Return table 1's sizes and diameters, one row a part."""
    rows = []
    for part in table1["part"].unique():
        size = pick(table1, part=part, characteristic="size")
        diameter = pick(table1, part=part, characteristic="diameter_mm")
        words = NOTHING
        if diameter is not None and not pd.isna(diameter["median"]):
            low, high = diameter["lower_quartile"], diameter["upper_quartile"]
            words = f"{diameter['median']:.1f} ({low:.1f} to {high:.1f})"
        counts = {name: int(size[name]) for name in ("num_patients", "num_series", "num_nodules")}
        rows.append({"part": part, "diameter": words, **counts})
    return rows


def level_words(table1, name: str) -> str:
    """Return a characteristic's levels with their shares, over all parts together."""
    rows = table1[(table1["part"] == "all") & (table1["characteristic"] == name)]
    return ", ".join(f"{plain(row.level)} {row.share:.0%}" for row in rows.itertuples()) or UNKNOWN


def number_words(table1, name: str, digits: int = 1) -> str:
    """Return a number's median and range over all parts together."""
    row = pick(table1, part="all", characteristic=name)
    if row is None or pd.isna(row["median"]):
        return UNKNOWN
    words = (
        f"{row['median']:.{digits}f} ({row['minimum']:.{digits}f} to {row['maximum']:.{digits}f})"
    )
    return words if row["share"] == 1 else f"{words}, known for {row['share']:.0%}"


def reader_words(criteria: dict) -> str:
    """Return how many readers marked a nodule."""
    low, high = criteria["min_annotations"], criteria["max_annotations"]
    return str(low) if low == high else f"{low} to {high or 'any number of'}"


def group_rows(performance, name: str) -> list:
    """Return an experiment's Dice by group as rows of words."""
    own = performance[performance["experiment"] == name]
    return [
        {
            "characteristic": row["characteristic"],
            "level": plain(row["level"]),
            "words": interval(row),
            "num_nodules": int(row["num_nodules"]),
            "num_patients": int(row["num_patients"]),
        }
        for row in own.to_dict("records")
    ]


def cohort_facts(tables: dict, settings: dict) -> dict:
    """Return what is said of data and cohort."""
    table1, findings = tables["table1"], tables["findings"]
    size, kind = pick(table1, part="all", characteristic="size"), table1["data_kind"].iloc[0]
    parts = part_facts(table1)
    test = [row["num_patients"] for row in parts if row["part"] == "test"]
    words = [
        f"{row['part']}: {row['num_patients']} patients, {row['num_nodules']} nodules"
        for row in parts
        if row["part"] not in ("all", "folds")
    ]
    against = tables["agreement"]
    against = against.loc[against["kind"] == "against_others", "dice"].dropna()
    return {
        "kind": kind,
        "is_phantom": kind == "phantom",
        "kind_words": KIND_WORDS[kind],
        "kind_note": "; phantom images" if kind == "phantom" else "",
        "mark": PHANTOM_MARK if kind == "phantom" else "",
        "source": settings["source"]["kind"],
        **{name: int(size[name]) for name in ("num_patients", "num_series", "num_nodules")},
        "num_excluded": int((findings["decision"] == "excluded").sum()),
        "num_repaired": int((findings["decision"] == "repaired").sum()),
        "num_dropped": len(tables["dropped"]),
        "num_scored": int(tables["num_scored"]),
        "attrition": tables["attrition"].to_dict("records"),
        "parts": parts,
        "part_words": "; ".join(words),
        "num_test_patients": test[0] if test else 0,
        "readers_dice": f"{against.mean():.3f}" if len(against) else NOTHING,
        "readers_words": reader_words(settings["select_nodules"]),
        "sex_words": level_words(table1, "sex"),
        "age_words": number_words(table1, "age_years", 0),
        "manufacturers": level_words(table1, "manufacturer"),
        "slice_spacing": number_words(table1, "slice_spacing_mm", 2),
    }


def records_by_name(records: list, wanted: list) -> dict:
    """Return the records of each experiment.

    Raises
    ------
    InputError
        When an experiment of the configuration has none.
    """
    by_name = {}
    for record in records:
        by_name.setdefault(record["experiment"], []).append(record)
    # A sweep's points are called `<name>~<key>=<value>`.
    trained = {name.split("~")[0] for name in by_name}
    missing = [name for name in wanted if name.split("~")[0] not in trained]
    if missing:
        raise InputError(
            f"the experiment {missing[0]} has no record among the {len(records)} given",
            "a record.json of every experiment of the configuration",
            "train it, or take it out of `experiments`",
        )
    return by_name


def make_facts(tables: dict, records: list, settings: dict, dataset: dict) -> dict:
    """Return everything that the templates may name.

    Parameters
    ----------
    tables : dict
        table1, performance, findings, agreement, attrition, dropped, summary, fifth_reader as
        DataFrames; num_scored.
    records : list of dict
    settings : dict
        The configuration.
    dataset : dict
        Of the register: whose outlines they are.

    Raises
    ------
    InputError
        When an experiment of the configuration has no record.
    """
    by_name = records_by_name(records, settings["experiments"])
    experiments = [experiment_facts(n, by_name[n], tables["summary"]) for n in by_name]
    networks = [e for e in experiments if e["is_network"]]
    network = networks[-1] if networks else None
    windows = {json.dumps(e["hu_window"]) for e in experiments if e["hu_window"]}
    others = [e["name"] for e in experiments if e["inputs"] != "image"]
    title = network["name"] if network else experiments[0]["name"]
    is_explained = bool(network and settings["explain_predictions"]["num_nodules"])
    return {
        **cohort_facts(tables, settings),
        "title": title,
        "fifth_words": fifth_words(tables["fifth_reader"], title),
        "is_test_open": bool((tables["fifth_reader"]["part"] == TEST).any()),
        "is_swept": any("~" in name for name in by_name),
        "experiments": experiments,
        "network": network,
        "baselines": [e["name"] for e in experiments if not e["is_network"]],
        "methods": list(dict.fromkeys(e["network"] if e["is_network"] else e["method"]
                                      for e in experiments)),
        "uses_other_inputs": ", ".join(others),
        "groups": group_rows(tables["performance"], network["name"]) if network else [],
        "hu_windows": ", ".join(sorted(windows)),
        "consensus": str(settings["consensus"]),
        "tie_rule": TIE_RULE,
        "cube": " x ".join(map(str, settings["extract_cubes"]["shape_vox"])),
        "spacing_mm": settings["extract_cubes"]["spacing_mm"],
        "num_folds": settings["split_patients"]["num_folds"],
        "split_seed": settings["split_patients"]["seed"],
        "folds": settings["run_folds"],
        "seeds": settings["seeds"],
        "offsets": settings["predict_cubes"]["click_offsets_mm"],
        "resamples": settings["compare_experiments"]["bootstrap_resamples"],
        "is_explained": is_explained,
        "explained_by": settings["explain_predictions"]["methods"] if is_explained else [],
        "has_nnunet": bool(settings["train_nnunet"]["schedules"]),
        "versions": records[0].get("made_by", {}).get("versions", {}),
        "dataset": dataset,
    }  # fmt: skip
