"""The fifth reader test: is the model as close to the readers as they are to each other?

It shows closeness to a consensus among readers who saw each other's marks, not expertise above
them. Endpoints, margin and groups: config/analysis_plan.yaml.
"""

import numpy as np
import pandas as pd

from quorum.bootstrap import bootstrap_mean, patient_weights
from quorum.comparison import NO_CLAIM, average_seeds, central, reader_values, run_means
from quorum.frozen_plan import TEST

ENDPOINTS = ("others", "readers")
ENSEMBLE = -1  # fold and seed of an ensemble
NAN = float("nan")


def endpoint_values(scores: pd.DataFrame, plan: dict) -> dict:
    """Return model, reader and difference of both endpoints by run and nodule, whole cohort.

    Parameters
    ----------
    scores : DataFrame
        One experiment's, of one part.
    plan : dict

    Returns
    -------
    dict
        Endpoint to a DataFrame: key's columns, model, reader, value (the difference). Nodules of
        too few readers are left out, truncated ones are in it.
    """
    rows = central(scores)
    readers = rows[rows["reference"].str.fullmatch(r"reader\d+") & (rows["subject"] == "model")]
    count = readers.groupby("nodule_id")["reference"].nunique()
    enough = count.index[count >= plan["nodules"]["num_readers"]]
    found = reader_values(rows[rows["nodule_id"].isin(enough)])
    values = {}
    for endpoint in ENDPOINTS:
        if ("dice_difference", endpoint) not in found:
            continue
        frame = found["dice_difference", endpoint].copy()
        frame["model"] = found["dice", endpoint]["value"]
        frame["reader"] = found["reader_dice", endpoint]["value"]
        values[endpoint] = frame
    return values


def nodule_means(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each nodule's model, reader and difference over runs: index nodule_id."""
    found = average_seeds(frame)
    for name in ("model", "reader"):
        found[name] = average_seeds(frame.assign(value=frame[name]))["value"]
    return found


def whole_nodules(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of nodules that lie whole inside the cube."""
    return frame[~frame["is_truncated"].astype(bool)]


def non_inferiority_p(values, patients, *, margin: float, resamples: int, seed: int) -> float:
    """Return the one-sided p of the mean difference lying at or below -margin.

    The share of the resampled means that do; of the interval's own resamples, so that it is below
    0.025 where its lower end is above -margin (to within two resamples). nan below two patients.
    """
    _, owner = np.unique(np.asarray(patients), return_inverse=True)
    if len(owner) == 0 or owner.max() == 0:
        return NAN
    weights = patient_weights(int(owner.max()) + 1, resamples=resamples, seed=seed)
    means = (weights @ np.bincount(owner, values)) / (weights @ np.bincount(owner))
    return float((1 + (means <= -margin).sum()) / (resamples + 1))


def endpoint_rows(scores: pd.DataFrame, *, part: str, plan: dict) -> list:
    """Return the rows of `fifth_reader` of one experiment and part, without verdict.

    Empty where no nodule has an endpoint.
    """
    rows, num_nodules = [], scores["nodule_id"].nunique()
    chance = {"resamples": plan["resamples"], "seed": plan["seed"]}
    truncated = scores.loc[scores["is_truncated"].astype(bool), "nodule_id"].nunique()
    for endpoint, frame in endpoint_values(scores, plan).items():
        frame = whole_nodules(frame)
        nodules = nodule_means(frame)
        if nodules.empty:
            continue
        found = bootstrap_mean(nodules["value"], nodules["patient_id"], **chance)
        seeds = frame[frame["seed"] != ENSEMBLE].groupby("seed")["value"].mean()
        p = non_inferiority_p(
            nodules["value"], nodules["patient_id"], margin=plan["margin_dice"], **chance
        )
        has_interval = np.isfinite(found["low"])
        rows.append({
            "experiment": scores["experiment"].iloc[0], "part": part,
            "data_kind": scores["data_kind"].iloc[0], "endpoint": endpoint,
            "num_nodules": found["num_nodules"], "num_patients": found["num_patients"],
            "num_truncated": truncated,
            "num_too_few_readers": num_nodules - truncated - found["num_nodules"],
            "model_dice": nodules["model"].mean(), "reader_dice": nodules["reader"].mean(),
            "difference": found["value"], "low": found["low"], "high": found["high"],
            "seed_smallest": seeds.min(), "seed_largest": seeds.max(),
            "margin": plan["margin_dice"], "p_non_inferior": p,
            "is_above_margin": found["low"] > -plan["margin_dice"] if has_interval else None,
            "num_resamples": plan["resamples"],
        })  # fmt: skip
    return rows


def no_verdict_reason(row: dict, plan: dict, looks: pd.DataFrame, frozen: dict) -> str | None:
    """Return why a row of the test gets no verdict; None where it gets one.

    Parameters
    ----------
    row : dict
        Of `endpoint_rows`, with num_seeds.
    plan : dict
    looks : DataFrame
        The looks at the test part for this experiment.
    frozen : dict
        Of `read_frozen_plan`.
    """
    if row["data_kind"] in NO_CLAIM:
        return NO_CLAIM[row["data_kind"]]
    if row["part"] != TEST:
        return "cross-validation: the plan asks for the locked test part"
    if looks.empty:
        return "scores of the test part without a logged look"
    if (looks["plan_sha256"] != frozen["plan_sha256"]).any():
        return "the test part was looked at under another plan than the frozen one"
    if (looks["time_utc"] < looks["frozen_utc"]).any():
        return "the test part was looked at before the plan was frozen"
    if row["num_seeds"] < plan["min_seeds"]:
        return f"trained with {row['num_seeds']} seeds, the plan asks for {plan['min_seeds']}"
    if row["num_patients"] < plan["min_patients"]:
        return f"{row['num_patients']} patients, the plan asks for {plan['min_patients']}"
    return None


def judge(rows: list, plan: dict, looks: pd.DataFrame, frozen: dict) -> list:
    """Return one experiment's and part's rows with one verdict for both endpoints."""
    reasons = [no_verdict_reason(row, plan, looks, frozen) for row in rows]
    reason = next((text for text in reasons if text), None)
    if reason is None and {row["endpoint"] for row in rows} != set(ENDPOINTS):
        reason = "one of the two endpoints has no value"
    passes = all(row["is_above_margin"] for row in rows)
    verdict = "none" if reason else "not_inferior" if passes else "not_shown"
    shared = {"verdict": verdict, "no_verdict_reason": reason, "num_looks": len(looks)}
    return [{**row, **shared, "plan_sha256": frozen["plan_sha256"]} for row in rows]


def nodule_rows(scores: pd.DataFrame, *, part: str, plan: dict) -> pd.DataFrame:
    """Return the table `reader_nodules` of one experiment and part, failures first."""
    rows = central(scores)
    model = rows[(rows["subject"] == "model") & (rows["reference"] == "consensus")]
    by = ["nodule_id", "patient_id"]
    found = model.groupby(by).agg(
        num_runs=("seed", "size"), consensus_dice=("dice", "mean"), consensus_iou=("iou", "mean"),
        hits=("is_hit", "mean"), is_truncated=("is_truncated", "first"),
        diameter_mm=("diameter_mm", "first"),
    )  # fmt: skip
    # No mask at all: the model's own, not an empty reference.
    empty = model[model["volume_mm3"] == 0]["nodule_id"].unique()
    found = found.reset_index().set_index("nodule_id")
    found["is_empty"] = found.index.isin(empty)
    found["is_failure"] = found["hits"] <= 0.5
    readers = rows["reference"].str.fullmatch(r"reader\d+") & (rows["subject"] != "model")
    pairs = rows[readers].groupby("nodule_id")["dice"]
    found["pair_dice"], found["lowest_pair_dice"] = pairs.mean(), pairs.min()
    values = endpoint_values(scores, plan).get("others")
    means = nodule_means(values) if values is not None else pd.DataFrame(columns=["value"])
    for name, column in (
        ("model_dice", "model"),
        ("reader_dice", "reader"),
        ("difference", "value"),
    ):
        found[name] = means.get(column, NAN)
    found["is_in_test"] = ~found["is_truncated"].astype(bool) & found["difference"].notna()
    found = found.sort_values(
        ["is_failure", "consensus_iou"], ascending=[False, True], kind="stable"
    )
    failed = found[found["is_failure"]]
    rest = found[~found["is_failure"]].sort_values(["difference", "pair_dice"], kind="stable")
    found = pd.concat([failed, rest]).reset_index().drop(columns="hits")
    return found.assign(
        experiment=scores["experiment"].iloc[0], data_kind=scores["data_kind"].iloc[0],
        part=part, place=range(1, len(found) + 1),
    )  # fmt: skip


def level_words(edges: list, order: int) -> str:
    """Return a group in words: below 6, 6 to 8, .., 30 or more."""
    if order == 0:
        return f"below {edges[0]:g}"
    if order == len(edges):
        return f"{edges[-1]:g} or more"
    return f"{edges[order - 1]:g} to {edges[order]:g}"


def nodule_groups(nodules: pd.DataFrame, thickness: dict, plan: dict) -> pd.DataFrame:
    """Return what nodules are grouped by: nodule_id, group, level, level_order.

    Parameters
    ----------
    nodules : DataFrame
        Table `nodules`.
    thickness : dict
        Slice thickness in mm by series_uid.
    plan : dict
    """
    parts = []
    for group, edges in plan["groups"].items():
        if group == "slice_thickness_mm":
            value = nodules["series_uid"].map(thickness).astype(float)
        else:
            name = group if group in nodules else f"{group}_median"
            value = nodules[name].astype(float)
        order = np.digitize(value, edges)
        frame = pd.DataFrame({"nodule_id": nodules["nodule_id"], "level_order": order})
        frame = frame[value.notna().to_numpy()]
        words = [level_words(edges, k) for k in frame["level_order"]]
        parts.append(frame.assign(group=group, level=words))
    return pd.concat(parts, ignore_index=True)


def group_rows(scores: pd.DataFrame, groups: pd.DataFrame, *, part: str, plan: dict) -> list:
    """Return the rows of `by_group` of one experiment and part."""
    values = endpoint_values(scores, plan).get("others")
    if values is None:
        return []
    rows = central(scores)
    model = rows[(rows["subject"] == "model") & (rows["reference"] == "consensus")]
    means = nodule_means(values)
    means["consensus"] = average_seeds(run_means(model, "dice"))["value"]
    hits = model.assign(hit=model["is_hit"].astype(float))
    means["hit"] = average_seeds(run_means(hits, "hit"))["value"]
    inside = groups[groups["nodule_id"].isin(whole_nodules(means).index)]
    is_cut = means["is_truncated"].astype(bool)
    cut = pd.DataFrame({
        "nodule_id": means.index, "group": "is_truncated", "level_order": is_cut.astype(int),
        "level": np.where(is_cut, "reaches beyond the cube", "whole"),
    })  # fmt: skip
    found = []
    chance = {"resamples": plan["resamples"], "seed": plan["seed"]}
    for (group, order, level), members in pd.concat([inside, cut]).groupby(
        ["group", "level_order", "level"], sort=False
    ):
        chosen = means.loc[members["nodule_id"]]
        interval = bootstrap_mean(chosen["value"], chosen["patient_id"], **chance)
        found.append({
            "experiment": scores["experiment"].iloc[0], "part": part,
            "data_kind": scores["data_kind"].iloc[0], "group": group, "level": level,
            "level_order": order, "num_nodules": interval["num_nodules"],
            "num_patients": interval["num_patients"], "model_dice": chosen["model"].mean(),
            "reader_dice": chosen["reader"].mean(), "difference": interval["value"],
            "low": interval["low"], "high": interval["high"],
            "consensus_dice": chosen["consensus"].mean(), "hit_rate": chosen["hit"].mean(),
        })  # fmt: skip
    order = {name: k for k, name in enumerate([*plan["groups"], "is_truncated"])}
    return sorted(found, key=lambda row: (order[row["group"]], row["level_order"]))
