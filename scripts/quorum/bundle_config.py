"""The configuration of a MONAI bundle: from a scan and a point to the nodule's mask."""

import importlib.metadata

from quorum.targets import num_heads

SCHEMA_URL = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/"
    "meta_schema_20240725.json"
)
BUNDLE_VERSION = "0.1.0"
PACKAGES = {"nibabel": "nibabel", "ignite": "pytorch-ignite", "einops": "einops", "scipy": "scipy"}
NOT_FOR_CARE = "Research only: not a medical device, not for diagnosis."


# A scan becomes (z, y, x) towards S, P, L: LPS with its axes in the order that Quorum uses.
TURNED = {
    "_target_": "Orientationd",
    "keys": "image",
    "axcodes": "SPL",
    "labels": [["L", "R"], ["P", "A"], ["I", "S"]],
}
# The point in LPS mm becomes voxels of the image as it is then.
POINT_IN_VOXELS = (
    {"_target_": "CopyItemsd", "keys": "point", "names": "point_vox"},
    {"_target_": "ToTensord", "keys": "point_vox", "dtype": "$torch.float64"},
    {
        "_target_": "ApplyTransformToPointsd",
        "keys": "point_vox",
        "refer_keys": "image",
        "affine_lps_to_ras": True,
    },
)


def preprocessing(settings: dict, spacing_mm: float) -> list:
    """Return the transforms that turn a scan in HU into the network's crop, axes (z, y, x)."""
    lower, upper = settings["hu_window"]
    size, image = list(settings["crop_vox"]), {"keys": "image"}
    resample = {"pixdim": [spacing_mm] * 3, "mode": "bilinear", "padding_mode": "border"}
    window = {"a_min": lower, "a_max": upper, "b_min": -1.0, "b_max": 1.0, "clip": True}
    crop = {"point_key": "point_vox", "size": size}
    return [
        {"_target_": "LoadImaged", **image, "image_only": True},
        {"_target_": "EnsureChannelFirstd", **image},
        TURNED,
        {"_target_": "Spacingd", **image, **resample},
        *POINT_IN_VOXELS,
        {"_target_": "quorum.bundle_parts.CropAtPointd", **image, **crop},
        {"_target_": "SpatialPadd", **image, "spatial_size": size, "mode": "edge"},
        {"_target_": "ScaleIntensityRanged", **image, **window},
    ]


def postprocessing(model: dict) -> list:
    """Return the transforms that turn the probability of a crop into a mask on the scan's grid."""
    finish = {
        "_target_": "quorum.bundle_parts.FinishShared",
        "keys": "pred",
        "image_key": "image",
        "point_key": "point",
        "choice": model["postprocess"],
        "threshold": model["threshold"],
    }
    return [
        *([finish] if model["postprocess"] != "none" else []),
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": model["threshold"]},
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_postfix": "nodule",
            "output_dtype": "$numpy.uint8",
            "resample": False,
            "separate_folder": False,
        },
    ]


# MONAI's evaluator with the weights of models/model.pt.
EVALUATOR = {
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
    "inferer": {"_target_": "SimpleInferer"},
    "handlers": [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
            "strict": True,
        }
    ],
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    },
    # Absolute, because `import` caches relative entries by the folder it is called in.
    "initialize": ["$sys.path.insert(0, os.path.abspath(@bundle_root + '/scripts'))"],
    "run": ["$@evaluator.run()"],
}


def inference_config(model: dict) -> dict:
    """Return configs/inference.json for a fitted network."""
    settings, compose = model["settings"], {"_target_": "Compose"}
    return {
        "imports": ["$import numpy", "$import os", "$import sys", "$import torch"],
        "bundle_root": ".",
        "image": "scan.nii.gz",
        "point_lps_mm": [0.0, 0.0, 0.0],
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "quorum.bundle_parts.ProbabilityNetwork",
            "network": settings["network"],
            "num_outputs": num_heads(settings["target"]),
            "temperature": model.get("temperature", 1.0),
        },
        "network": "$@network_def.to(@device)",
        "preprocessing": {**compose, "transforms": preprocessing(settings, model["spacing_mm"])},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': @image, 'point': numpy.array([[@point_lps_mm]], float)}]",
            "transform": "@preprocessing",
        },
        "postprocessing": {**compose, "transforms": postprocessing(model)},
        **EVALUATOR,
    }


def metadata(model: dict, record: dict) -> dict:
    """Return configs/metadata.json.

    Parameters
    ----------
    model : dict
        Of quorum.models.read_model.
    record : dict
        The run's record.json; its Dice on the validation fold is stated.
    """
    kind = "PHANTOM images" if model["data_kind"] == "phantom" else model["data_kind"]
    answer = record.get("answer", {})
    versions = {name: importlib.metadata.version(dist) for name, dist in PACKAGES.items()}
    return {
        "schema": SCHEMA_URL,
        "version": BUNDLE_VERSION,
        "changelog": {BUNDLE_VERSION: "written by Quorum's export_model"},
        "monai_version": importlib.metadata.version("monai"),
        "pytorch_version": importlib.metadata.version("torch").split("+")[0],
        "numpy_version": importlib.metadata.version("numpy"),
        "required_packages_version": versions,
        "name": f"Lung nodule outline, {model['experiment']}, trained on {kind}",
        "task": "Segmentation of a lung nodule in CT around a point that a person gives",
        "description": (
            f"Network {model['settings']['network']['name']} of Quorum, trained on {kind} against "
            f"the target {model['settings']['target']} of several readers' outlines. {NOT_FOR_CARE}"
        ),
        "authors": "Quorum",
        "copyright": "Apache-2.0",
        "data_source": f"LIDC-IDRI's outlines on {kind}; doi 10.7937/k9/tcia.2015.lo9ql9sx",
        "data_type": "nifti",
        "image_classes": "CT in HU",
        "label_classes": "1 nodule, 0 not",
        "pred_classes": "1 nodule, 0 not",
        "eval_metrics": {"validation_dice": answer.get("validation_dice")},
        "intended_use": NOT_FOR_CARE,
        "references": ["Armato et al. 2011, doi 10.1118/1.3528204"],
        "quorum": {key: model[key] for key in ("fold", "seed", "data_kind", "threshold")},
        "network_data_format": data_format(model["settings"]["crop_vox"]),
    }


def data_format(crop_vox) -> dict:
    """Return what goes into the network and what comes out, in the specification's words."""
    patch = {
        "type": "image",
        "num_channels": 1,
        "spatial_shape": list(crop_vox),
        "dtype": "float32",
        "is_patch_data": False,
    }
    image = {"format": "hounsfield", "modality": "CT", "value_range": [-1, 1]}
    share = {"format": "segmentation", "value_range": [0, 1]}
    return {
        "inputs": {"image": {**patch, **image, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {**patch, **share, "channel_def": {"0": "probability of nodule"}}},
    }
