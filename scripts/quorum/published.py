"""Published numbers, set beside our runs of the nearest protocol."""

import numpy as np
import pandas as pd

from quorum.bootstrap import bootstrap_mean
from quorum.comparison import MIN_READERS_LEFT_OUT, average_seeds, central, run_means

METRICS = {"Dice": "dice", "IoU": "iou"}
GED = "GED²"
UNKNOWN = "unknown"
PHANTOM = "phantom images: a number of simulated nodules stands beside no paper"
TASKS = {
    "malignancy": "not set side by side: these runs outline nodules; the figures of classifiers, "
    "where any was trained, are in score_classifier",
    "detection": "no run of this task: these runs outline given nodules and detect none",
}
DEFINITIONS = {
    "pairs": "reader against reader, in pairs",
    "others": "reader against the majority of the other three",
    "all": "reader against the majority of all, itself included",
    "diversity": "1 - IoU of distinct pairs of readers",
}


def paper_columns(topic: str, row: dict) -> dict:
    """Return what a published row says itself, in the columns of the table `papers`."""
    columns = {
        name: row.get(name) or UNKNOWN for name in ("nodules", "readers", "consensus", "split")
    }
    is_detection = topic == "detection"
    return {
        "topic": topic, "method": row["method"], **columns, "input": row.get("input") or UNKNOWN,
        "metric": "CPM" if is_detection else row["metric"],
        "value": row["cpm"] if is_detection else row["value"], "spread": row.get("spread"),
        "reader_values": row.get("reader_values", []),
        **{name: row[name] for name in ("source", "url", "read", "note")},
    }  # fmt: skip


def readers_agreement(scores: pd.DataFrame, measure: str, consensus: str) -> dict:
    """Return our readers' agreement by each definition: name to mean over nodules.

    Parameters
    ----------
    scores : DataFrame
        One experiment's.
    measure : str
        dice or iou.
    consensus : str
        The configuration's; `all` needs the majority.
    """
    rows = central(scores)
    rows = rows[(rows["subject"] != "model") & ~rows["is_truncated"].astype(bool)]
    others = rows["reference"].str.startswith("others")
    count = rows[others].groupby("nodule_id")["reference"].nunique()
    enough = count.index[count >= MIN_READERS_LEFT_OUT]
    parts = {
        "pairs": rows[rows["reference"].str.startswith("reader")],
        "others": rows[others & rows["nodule_id"].isin(enough)],
        "all": rows[(rows["reference"] == "consensus") & (consensus == "majority")],
    }
    found = {}
    for name, part in parts.items():
        if len(part):
            found[name] = float(average_seeds(run_means(part, measure))["value"].mean())
    return found


def our_columns(row: dict, scores, nodules, *, consensus: str, resamples: int, seed: int) -> dict:
    """Return our run's columns beside one published row.

    Parameters
    ----------
    row : dict
        As published, with `nearest`.
    scores, nodules : DataFrame
        Scores and nodule scores of all experiments.
    consensus : str
    resamples, seed : int
    """
    names = [name for name in row["nearest"] if name in set(scores["experiment"])]
    data_kind = scores["data_kind"].iloc[0]
    if not names:
        wanted = row["nearest"][0]
        reason = f"no run of {wanted} among these (snakemake reproduce_papers makes one)"
        return {"no_value_reason": reason}
    if data_kind == "phantom":
        return {"our_experiment": names[0], "data_kind": data_kind, "no_value_reason": PHANTOM}
    own, own_nodules = (frame[frame["experiment"] == names[0]] for frame in (scores, nodules))
    if row["metric"] == GED:
        values, reference = energy_values(own_nodules, "ged_squared"), "readers"
        definition = "diversity"
        value = float(energy_values(own_nodules, "readers_diversity")["value"].mean())
    else:
        values, reference = overlap_values(own, METRICS[row["metric"]]), "consensus"
        agreement = readers_agreement(own, METRICS[row["metric"]], consensus)
        definition, value = nearest_definition(row, agreement)
    found = bootstrap_mean(values["value"], values["patient_id"], resamples=resamples, seed=seed)
    return {
        "our_experiment": names[0], "our_reference": reference, "data_kind": data_kind,
        "our_value": found["value"], "our_low": found["low"], "our_high": found["high"],
        "our_num_nodules": found["num_nodules"], "our_num_patients": found["num_patients"],
        "our_reader_definition": definition, "our_reader_value": value,
    }  # fmt: skip


def overlap_values(scores, measure: str) -> pd.DataFrame:
    """Return the model's value of each whole nodule against the consensus."""
    rows = central(scores)
    rows = rows[(rows["subject"] == "model") & (rows["reference"] == "consensus")]
    return average_seeds(run_means(rows[~rows["is_truncated"].astype(bool)], measure))


def energy_values(nodules, measure: str) -> pd.DataFrame:
    """Return each whole nodule's value of a measure that belongs to all its readers."""
    return average_seeds(run_means(nodules[~nodules["is_truncated"].astype(bool)], measure))


def energy_protocol(nodules, protocol: dict) -> dict:
    """Return our protocol of a distance between distributions, for one experiment's nodules."""
    counts = " or ".join(map(str, sorted(nodules["num_samples"].unique())))
    return {
        **protocol,
        "consensus": "none, the distance to each reader",
        "input": "3D cubes around the nodule's centre, given; 1 mm grid, covered region",
        "estimator": f"{counts} samples a nodule, all ordered pairs (V-statistic), 1 - IoU in 3D",
    }


def nearest_definition(row: dict, ours: dict) -> tuple:
    """Return the definition whose value is nearest to the paper's readers', and that value."""
    stated = row.get("reader_values") or []
    if not stated or not ours:
        return None, np.nan
    name = min(ours, key=lambda each: min(abs(ours[each] - value) for value in stated))
    return name, ours[name]


def spell_differences(paper: dict, ours: dict, protocol: dict) -> str:
    """Return how two protocols differ, one aspect after another; unknown is named as that.

    Parameters
    ----------
    paper : dict
        Of `paper_columns`.
    ours : dict
        Of `our_columns`; without an experiment, nothing of ours is named.
    protocol : dict
        Ours by aspect: nodules, readers, consensus, split, input, and what else belongs to it.
    """
    if not ours.get("our_experiment"):
        left = [aspect for aspect in protocol if paper.get(aspect, UNKNOWN) == UNKNOWN]
        return f"the paper's {', '.join(left)} unknown" if left else "no run of ours to differ from"
    parts = [f"network: the paper's own; ours {ours['our_experiment']}"]
    for aspect, words in protocol.items():
        parts.append(f"{aspect}: {paper.get(aspect, UNKNOWN)}; ours {words}")
    if ours.get("our_reader_definition"):
        definition = ours["our_reader_definition"]
        is_own = definition == "diversity"  # no paper's figure that it could be nearest to
        lead = "our readers' figure is" if is_own else "readers' figure is nearest to ours of"
        parts.append(f"{lead} {DEFINITIONS[definition]}")
    if ours.get("data_kind") == "cut_out":
        parts.append("our volumes are cut out around the readers' marks: optimistic")
    return ". ".join(parts)
