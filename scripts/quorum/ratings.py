"""The nine ratings a reader gives a nodule, with their scales.

Source: Armato et al. 2011 (doi 10.1118/1.3528204) and the LIDC-IDRI XML schema.
"""

# ASSUME: lobulation and spiculation are kept as stored though about 100 of the first 399 cases
# have their scales inverted, which ones is not published (TCIA's LIDC-IDRI page)
SCALES = {
    "subtlety": (1, 2, 3, 4, 5),
    "internal_structure": (1, 2, 3, 4),
    "calcification": (1, 2, 3, 4, 5, 6),
    "sphericity": (1, 2, 3, 4, 5),
    "margin": (1, 2, 3, 4, 5),
    "lobulation": (1, 2, 3, 4, 5),
    "spiculation": (1, 2, 3, 4, 5),
    "texture": (1, 2, 3, 4, 5),
    "malignancy": (1, 2, 3, 4, 5),
}
RATINGS = tuple(SCALES)


def is_out_of_range(ratings) -> bool:
    """Tell whether any rating lies outside its scale; a missing one doesn't.

    Parameters
    ----------
    ratings : mapping of str to int or None
        By the names in RATINGS.
    """
    return any(
        value is not None and value == value and value not in SCALES[name]
        for name, value in ratings.items()
    )
