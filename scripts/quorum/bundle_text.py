"""The page that goes with a bundle."""

from quorum.bundle_config import NOT_FOR_CARE


def onnx_words(onnx: dict) -> str:
    """Return how the ONNX file compares with PyTorch, in one or two sentences."""
    if not onnx["is_exported"]:
        return f"This network can't be written as ONNX: {onnx['reason']}."
    faster = onnx["speed_ratio"]
    return (
        "`models/model.onnx` (input `image`, outputs `logits` and `probability`) differs from "
        f"PyTorch by at most {onnx['max_difference_logit']:.1e} in a logit and "
        f"{onnx['max_difference_probability']:.1e} in a probability, over one crop of noise; "
        f"PyTorch took {faster:.2f} times as long as onnxruntime on the machine that exported it."
    )


def bundle_page(model: dict, record: dict, onnx: dict) -> str:
    """Return docs/README.md of a bundle."""
    settings, kind = model["settings"], model["data_kind"]
    dice = record.get("answer", {}).get("validation_dice")
    score = "no Dice on the validation fold was kept" if dice is None else f"Dice {dice:.3f}"
    warning = "**Trained on PHANTOM images**, which hold no patient. " if kind == "phantom" else ""
    step = model["postprocess"]
    return f"""\
# {model["experiment"]}: a lung nodule's outline around a point

{warning}{NOT_FOR_CARE}

Network `{settings["network"]["name"]}`, fold {model["fold"]} of {model["num_folds"]}, seed \
{model["seed"]}, trained on {kind} data against the target `{settings["target"]}`. On the \
validation fold, which chose threshold and step: {score} against the consensus \
`{model["consensus"]}`.

## Run it
From this folder, with the packages of configs/metadata.json:

    python -m monai.bundle run --config_file configs/inference.json \\
      --image scan.nii.gz --point_lps_mm "[x,y,z]" --output_dir out

`image` is a CT in HU, as NIfTI. The point lies in the nodule, in LPS mm as in DICOM.
Out comes a mask on the scan's own grid.

## What it does
The scan is turned to axes (z, y, x) towards head, back and left, resampled to \
{model["spacing_mm"]} mm by MONAI's linear interpolation, cut to {settings["crop_vox"]} voxels \
around the point, and HU {settings["hu_window"]} are mapped to -1 .. 1. The probability goes back \
to the scan's grid and is cut at {model["threshold"]} (steps around that: `{step}`). \
Quorum's own predictions resample otherwise and average over flips: results differ a little.

## ONNX
{onnx_words(onnx)}

## Licences
Code: Apache-2.0 (LICENSE). Outlines: LIDC-IDRI, CC BY 3.0, doi 10.7937/k9/tcia.2015.lo9ql9sx.
"""
