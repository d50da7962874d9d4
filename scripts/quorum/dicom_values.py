"""Values of DICOM elements as plain numbers and texts."""

import math


def number(value, kind):
    """Return an element's value as a number; missing or empty as nan (float) or None (int)."""
    if value is None or str(value).strip() == "":
        return math.nan if kind is float else None
    return kind(value)


def numbers(value, count: int) -> tuple:
    """Return an element's values as floats; all nan when it is missing or has another count."""
    if value is None or isinstance(value, str) or len(value) != count:
        return (math.nan,) * count
    return tuple(float(member) for member in value)


def raw_integer(value) -> int:
    """Return an integer element's value, also where its bytes were left as they are."""
    return int.from_bytes(value[:2], "little") if isinstance(value, bytes) else int(value)


def kernel_name(value) -> str:
    """Return ConvolutionKernel as one text; it may have several values."""
    if value is None or isinstance(value, str):
        return value or ""
    return " ".join(str(member) for member in value)
