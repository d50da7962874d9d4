"""Hand a trained network on: as a MONAI bundle that runs by itself, and as ONNX.

Reads
    --results  the results folder; of it train_model/<experiment>/fold<fold>_seed<seed>/model.pt
               and record.json
Writes
    --out-bundle     a folder: configs/inference.json and metadata.json, models/model.pt (weights)
                     and model.onnx, docs/README.md and onnx.json, scripts (the network's code),
                     LICENSE. To run it, from that folder:
                     python -m monai.bundle run --config_file configs/inference.json
                     --image scan.nii.gz --point_lps_mm "[x,y,z]"
    --out-catalogue  instead: the table `onnx_exports`, one row a network of the catalogue with
                     drawn weights: whether ONNX can hold it, else why not; its error and speed
Method
    ONNX by torch.onnx, run by onnxruntime on the CPU; largest difference over a crop of noise. Of
    an ensemble hand on each run and average their probabilities; masks: export_nifti.py --ensemble.
Source
    MONAI bundle specification (docs.monai.io)
"""

import json
import shutil
from pathlib import Path

import pandas as pd

from quorum.code import SCRIPTS, code_digest, collect_imports
from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole_folder
from quorum.networks import network_names
from quorum.run_files import read_record, require_packages, run_file, run_name
from quorum.tables import write_table

# The crop at which the catalogue is compared; every network takes it.
CROP_VOX = (32, 64, 64)


def refuse_unfit(model: dict, record: dict, *, is_other_code_fine: bool):
    """Raise an InputError for a model that can't be handed on as a network of images."""
    settings = model["settings"]
    if settings["method"] != "network":
        raise InputError(
            f"the experiment {model['experiment']} is the baseline {settings['method']}",
            "an experiment that trains a network",
            "choose another --experiment: a baseline has no weights",
        )
    if settings["inputs"] != "image":
        raise InputError(
            f"the network of {model['experiment']} sees {settings['inputs']} and no image",
            "a network that was trained on images",
            "choose another --experiment: this one is a control",
        )
    theirs, ours = record.get("made_by", {}).get("code_digest"), code_digest("train_model")
    if theirs != ours and not is_other_code_fine:
        raise InputError(
            f"the model was trained by other code (digest {theirs}) than this one ({ours})",
            "a model of this very code, so that its network means the same",
            "train it again, or pass --other-code when the network's file has not changed",
        )


def load_network(model: dict):
    """Return the network with the model's weights, in evaluation mode.

    Raises
    ------
    InputError
        When the weights are of another network.
    """
    from quorum.bundle_parts import ProbabilityNetwork
    from quorum.targets import num_heads

    settings = model["settings"]
    heads, temperature = num_heads(settings["target"]), model.get("temperature", 1.0)
    network = ProbabilityNetwork(settings["network"], heads, temperature).eval()
    try:
        network.network.load_state_dict(model["weights"])
    except RuntimeError as error:
        raise InputError(
            f"the weights do not fit the network {settings['network']['name']} "
            f"({str(error).splitlines()[0]})",
            "weights of this code's own network",
            "train the experiment again",
        ) from error
    return network


def write_code(network: str, folder: Path):
    """Copy what the bundle imports from this project: its parts and the one network."""
    wanted = ("quorum/bundle_parts.py", f"quorum/networks/{network}.py")
    for path in sorted(collect_imports([SCRIPTS / name for name in wanted])):
        target = folder / path.relative_to(SCRIPTS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def try_onnx(network, path, shape, threads: int) -> dict:
    """Return how a network went to ONNX; `reason` says why it could not."""
    from torch.onnx import OnnxExporterError

    from quorum.onnx_export import compare_onnx, export_reason, write_onnx

    try:
        write_onnx(network, path, shape)
    except OnnxExporterError as error:
        Path(path).unlink(missing_ok=True)
        return {"is_exported": False, "reason": export_reason(error)}
    return {"is_exported": True, **compare_onnx(network, path, shape, threads=threads)}


def write_bundle(model: dict, record: dict, folder: Path, threads: int) -> dict:
    """Write the bundle's files into an empty folder; return how ONNX compares."""
    import torch

    from quorum.bundle_config import inference_config, metadata
    from quorum.bundle_text import bundle_page

    network = load_network(model)
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir()
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    crop = model["settings"]["crop_vox"]
    onnx = try_onnx(network.network, folder / "models" / "model.onnx", (1, *crop), threads)
    for name, content in (
        ("configs/inference.json", inference_config(model)),
        ("configs/metadata.json", metadata(model, record)),
        ("docs/onnx.json", {**onnx, "threads": threads, "crop_vox": list(crop)}),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / "docs" / "README.md").write_text(bundle_page(model, record, onnx), encoding="utf-8")
    write_code(model["settings"]["network"]["name"], folder / "scripts")
    shutil.copyfile(SCRIPTS.parent / "LICENSE", folder / "LICENSE")
    return onnx


def catalogue_rows(names, folder: Path, threads: int) -> list:
    """Return one row a network: whether and how it goes to ONNX with drawn weights."""
    from quorum.onnx_export import fresh_network

    rows = []
    for name in progress(names, "networks"):
        (network, num_inputs), path = fresh_network(name), folder / f"{name}.onnx"
        row = try_onnx(network, path, (num_inputs, *CROP_VOX), threads)
        row["num_parameters"] = sum(p.numel() for p in network.parameters())
        row["onnx_mb"] = path.stat().st_size / 1e6 if path.exists() else None
        rows.append({"network": name, "reason": None, **row})
        path.unlink(missing_ok=True)
    return rows


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", default="results", help="the results folder")
    parser.add_argument("--experiment", default="unet3d", help="whose network")
    parser.add_argument("--fold", type=int, default=0, help="the run's fold")
    parser.add_argument("--seed", type=int, default=0, help="the run's seed")
    parser.add_argument("--other-code", action="store_true", help="take a model of other code")
    parser.add_argument("--networks", nargs="*", help="networks of the catalogue; all by default")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out-bundle", help="folder to write")
    where.add_argument("--out-catalogue", help="table to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, export, write."""
    args = parse_args(argv)
    require_packages("onnx", "onnxruntime", "onnxscript", "ignite")
    import torch

    from quorum.models import read_model

    torch.set_num_threads(args.threads)
    if args.out_catalogue:
        names = args.networks or network_names()
        with write_whole_folder(f"{args.out_catalogue}.parts") as folder:
            rows = catalogue_rows(names, folder, args.threads)
        shutil.rmtree(f"{args.out_catalogue}.parts")
        write_table(
            pd.DataFrame(rows), args.out_catalogue, "onnx_exports", provenance(__file__, args)
        )
        failed = sum(not row["is_exported"] for row in rows)
        dropped = {"can't be written as ONNX": failed}
        log_counts("networks", came_in=len(names), dropped=dropped, went_out=len(names) - failed)
        return
    run = run_file(
        args.results, "train_model", args.experiment, name=run_name(args.fold, args.seed)
    )
    model, record = read_model(run / "model.pt"), read_record(run / "record.json")
    refuse_unfit(model, record, is_other_code_fine=args.other_code)
    with write_whole_folder(args.out_bundle) as folder:
        onnx = write_bundle(model, record, folder, args.threads)
    LOG.info("bundle of %s: %s", args.experiment, json.dumps(onnx))


if __name__ == "__main__":
    run_command(main)
