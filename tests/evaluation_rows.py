"""Invented rows of the evaluation's tables, for tests of what the report makes of them."""

import itertools

import numpy as np


def evaluation_rows(cubes, experiments, num_scored: int) -> dict:
    """Return the rows of each table, by its schema's name."""
    kind, generator = {"data_kind": cubes.data_kind}, np.random.default_rng(1)
    has_verdict = cubes.data_kind == "scan"
    shared = {"num_nodules": num_scored, "num_patients": num_scored // 2, **kind}
    rows = {name: [] for name in ("fifth_reader", "by_group", "pairs", "ranks", "spread",
                                  "bland_altman", "reader_nodules")}  # fmt: skip
    for place, name in enumerate(experiments):
        own = {"experiment": name, "part": "cross_validation", **shared}
        for endpoint in ("others", "readers"):
            rows["fifth_reader"].append({
                **own, "endpoint": endpoint, "num_seeds": 3, "model_dice": 0.8,
                "reader_dice": 0.81, "difference": -0.01, "low": -0.025, "high": 0.005,
                "margin": 0.03, "is_above_margin": True, "plan_sha256": "ab" * 32,
                "verdict": "not_inferior" if has_verdict else "none", "num_resamples": 2000,
                "no_verdict_reason": None if has_verdict else f"{cubes.data_kind} <images>",
            })  # fmt: skip
        for group in ("diameter_mm", "texture"):
            for order, level in enumerate(("up to 8", "8 to 15", "over 15")):
                rows["by_group"].append({
                    **own, "group": group, "level": level, "level_order": order,
                    "model_dice": 0.8, "reader_dice": 0.81, "difference": -0.01 * order,
                    "low": -0.05, "high": 0.03, "consensus_dice": 0.82, "hit_rate": 1.0,
                })  # fmt: skip
        measured = {**own, "measure": "dice", "reference": "consensus"}
        rows["ranks"].append({
            **measured, "value": 0.8, "num_experiments": len(experiments), "rank": place + 1.0,
            "mean_rank": place + 1.2, "rank_low": 1.0, "rank_high": 2.0, "share_first": 0.6,
            "kendall_tau": 0.7, "is_claim": has_verdict,
        })  # fmt: skip
        rows["spread"].append({**measured, "over": "seeds", "num_values": 3, "mean": 0.8})
        for scale, limit in (("mm3", 150.0), ("percent", 30.0)):
            rows["bland_altman"].append({
                **own, "subject": "model", "reference": "consensus", "scale": scale,
                "bias": limit / 10, "bias_low": 0.0, "bias_high": limit / 5,
                "limit_low": -limit, "limit_high": limit, "slope": 0.01,
            })  # fmt: skip
        for row in range(num_scored):
            iou = float(generator.uniform(0.0, 0.9))
            rows["reader_nodules"].append({
                **own, "nodule_id": cubes.nodule_id[row], "patient_id": cubes.patient_id[row],
                "place": row + 1, "is_failure": iou < 0.1, "consensus_iou": iou,
                "consensus_dice": 2 * iou / (1 + iou), "difference": iou - 0.6,
                "pair_dice": 0.9 - iou / 5, "diameter_mm": float(cubes.diameter_mm[row]),
            })  # fmt: skip
        rows["reader_nodules"].sort(key=lambda row: (row["experiment"], row["consensus_iou"]))
    for first, second in itertools.pairwise(experiments):
        rows["pairs"].append({
            "experiment_a": first, "experiment_b": second, "measure": "dice",
            "reference": "consensus", **shared, "difference": -0.02, "low": -0.04, "high": 0.01,
            "test": "patient_sign_flip", "p_value": 0.03, "p_adjusted": 0.06, "correction": "holm",
        })  # fmt: skip
    ours = {"our_experiment": experiments[-1], "our_reference": "consensus", "our_value": 0.8,
            "our_low": 0.78, "our_high": 0.82, "our_num_nodules": num_scored}  # fmt: skip
    rows["papers"] = [{
        "topic": "segmentation", "method": "DB-ResNet (Cao 2019)", "metric": "Dice",
        "value": 0.8274, "nodules": "986", "readers": "unknown", "consensus": "unknown",
        "split": "unknown", "source": "arXiv", "read": "primary", "reader_values": [0.8225],
        "differences": "other nodules; consensus unknown", "url": "https://arxiv.org/abs/1905.08413",
        "no_value_reason": None if has_verdict else "phantom images",
        **(ours if has_verdict else {}),
    }]  # fmt: skip
    return rows
