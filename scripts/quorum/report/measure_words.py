"""Measures in words, for headings and cells of every table."""

from quorum.comparison import split_measure

MEASURES = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "HD95 (larger direction), mm",
    "hd95_pooled_mm": "HD95 (directions pooled), mm",
    "assd_mm": "ASSD, mm",
    "center_distance_mm": "distance of centres, mm",
    "surface_dice_1mm": "surface Dice at 1 mm",
    "surface_dice_readers": "surface Dice at the readers’ own distance",
    "volume_error_mm3": "volume error, mm³",
    "volume_error_share": "volume error, share of the reference",
    "absolute_volume_error_mm3": "absolute volume error, mm³",
    "hit_rate": "hit rate (IoU of at least 0.1)",
    "share_empty": "share of nodules with an empty mask",
    "brier_band": "squared error of the probability around the nodule",
    "bias_band": "mean error of the probability around the nodule",
    "ged_squared": "energy distance to the readers, squared",
    "ged_squared_distinct": "energy distance to the readers, squared, distinct pairs",
    "readers_diversity": "diversity of the readers, 1 − IoU",
    "staple_dice_vote": "Dice of STAPLE and the vote",
    "model_dice_staple": "model’s Dice with STAPLE",
    "model_dice_vote": "model’s Dice with the vote",
}


REFERENCES = {
    "consensus": "the consensus of all readers",
    "latent": "the phantom’s true surface",
    "others": "the majority of the others",
    "readers": "each reader",
    "staple": "readers, where STAPLE and the vote differ",
    "reader": "the reader left out",
}
UNITS = {"_mm3": "mm³", "_mm": "mm", "_years": "years"}


def measure_words(measure: str) -> str:
    """Return a measure in words."""
    whose, what = split_measure(measure)
    if measure in MEASURES or whose == "model":
        return MEASURES.get(measure, str(measure).replace("_", " "))
    words = MEASURES.get(what, what.replace("_", " "))
    return f"the reader’s {words}" if whose == "reader" else f"{words}: model − reader"


def code_words(code: str) -> str:
    """Return the name of a column or rule in words, its unit behind a comma."""
    for ending, unit in UNITS.items():
        if code.endswith(ending):
            return f"{code.removesuffix(ending)}, {unit}".replace("_", " ")
    return code.replace("_", " ")


def reference_words(reference: str) -> str:
    """Return what is measured against, or whose mask is measured, in words."""
    return REFERENCES.get(reference, str(reference))
