"""Tables of scores with known differences, for tests of what compares experiments.

from score_factory import make_scores
scores = make_scores("unet3d", nodules=4, lift=0.1)   # two nodules a patient, four readers
"""

import numpy as np
import pandas as pd


def make_scores(experiment="unet3d", seed=0, fold=0, nodules=4, lift=0.1):
    """Return scores in which the model is `lift` above the reader left out, everywhere."""
    rows = []
    for number in range(nodules):
        base = 0.7 + 0.02 * (number % 4)
        shared = {
            "nodule_id": f"nodule{fold}{number}",
            "patient_id": f"patient{fold}{number // 2}",
            "series_uid": "1.2.3",
        }

        def add(subject, reference, dice, offset=0.0, shared=shared):
            rows.append(
                {
                    **shared,
                    "subject": subject,
                    "reference": reference,
                    "dice": dice,
                    "iou": dice / (2 - dice),
                    "offset_mm": offset,
                }
            )

        add("model", "consensus", base + 0.15)
        add("model", "consensus", base - 0.1, 8.0)
        for k in range(1, 5):
            add("model", f"others{k}", base + lift + 0.01 * k)
            add(f"reader{k}", f"others{k}", base + 0.01 * k)
            add("model", f"reader{k}", base)
        for a, b in ((1, 2), (1, 3), (2, 3)):
            add(f"reader{a}", f"reader{b}", base - 0.05)
    return pd.DataFrame(rows).assign(
        experiment=experiment,
        fold=fold,
        seed=seed,
        part=f"fold{fold}",
        data_kind="cut_out",
        is_hit=True,
        hd95_mm=1.5,
        hd95_pooled_mm=1.4,
        assd_mm=0.5,
        surface_dice_1mm=0.9,
        surface_dice_readers=0.8,
        readers_distance_mm=0.6,
        center_distance_mm=1.0,
        volume_error_mm3=-10.0,
        volume_error_share=-0.09,
        volume_mm3=100.0,
        is_empty=False,
        is_penalized=False,
        is_truncated=False,
        diameter_mm=9.0,
    )


def make_nodules(scores):
    """Return nodule scores that belong to these scores."""
    key = ["experiment", "fold", "seed", "part", "nodule_id", "patient_id", "data_kind"]
    return scores[[*key, "is_truncated"]].drop_duplicates().assign(
        band_mm=5.0, num_band_voxels=100, brier_band=0.02, bias_band=0.01,
        sample_source="threshold", num_samples=1, num_readers=4, ged_squared=0.4,
        ged_squared_distinct=np.nan, samples_diversity=np.nan, readers_diversity=0.35,
        staple_dice_vote=0.9, staple_voxels_different=0, model_dice_staple=0.8,
        model_dice_vote=0.8,
    )  # fmt: skip


def make_bins(scores):
    """Return the bins of one run of these scores: half of a bin's voxels are inside."""
    first = scores.iloc[0][["experiment", "fold", "seed", "part", "data_kind"]]
    rows = [{"bin": k, "bin_low": k / 10, "bin_high": (k + 1) / 10, "num_voxels": 10 * (k < 5),
             "mean_probability": k / 10, "mean_share": 0.5} for k in range(10)]  # fmt: skip
    return pd.DataFrame(rows).assign(**first)
