"""List every network of the catalogue: its source, parameters and multiply-adds.

Reads
    --settings     JSON: the block train_model, the base of all experiments
    --experiments  the files of config/experiments
Writes
    --out-networks  networks.csv, one row an experiment that trains a network
Method
    Each network is built and passed one crop of the experiment's crop_vox as shapes alone
    (torch's meta device): nothing is computed. torch counts the operations of convolutions and
    matrix products; a multiply-add is two of them. Normalisation, activation and interpolation
    are not counted, as is usual. A probabilistic network's posterior has parameters, and takes no
    part in an answer.
Source
    torch.utils.flop_counter.FlopCounterMode.
"""

import json
from pathlib import Path

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.networks import NUM_INPUTS, build_network, network_module
from quorum.plans import make_plan, training_crop
from quorum.settings import experiment_settings
from quorum.tables import write_table
from quorum.targets import num_heads


def count_network(settings: dict) -> dict:
    """Return a network's parameters and the multiply-adds of one crop.

    Parameters
    ----------
    settings : dict
        A plan's, complete.

    Returns
    -------
    dict
        num_parameters (learned numbers), multiply_adds_g (10^9, one crop of crop_vox).
    """
    num_inputs = NUM_INPUTS[settings["inputs"]]
    network = build_network(settings["network"], num_inputs, num_heads(settings["target"]))
    crop = torch.empty(1, num_inputs, *settings["crop_vox"], device="meta")
    with FlopCounterMode(display=False) as counter:
        network.to("meta").eval()(crop)
    return {
        "num_parameters": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "multiply_adds_g": counter.get_total_flops() / 2 / 1e9,
    }


def describe_experiment(name: str, settings: dict) -> dict:
    """Return one experiment's row."""
    plan = make_plan(name, settings, "majority")["settings"]
    return {
        "experiment": name,
        "network": plan["network"]["name"],
        "source": network_module(plan["network"]["name"]).SOURCE,
        **count_network(plan),
        "crop_vox": " ".join(map(str, plan["crop_vox"])),
        "training_crop_vox": " ".join(map(str, training_crop(plan))),
        "inputs": plan["inputs"],
        "target": plan["target"],
    }


def main(argv=None):
    """Parse, count, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--settings", required=True, help="the block train_model, JSON")
    parser.add_argument("--experiments", required=True, nargs="+", help="YAML files, by name")
    parser.add_argument("--out-networks", required=True, help="CSV to write")
    args = parser.parse_args(argv)
    config = {"train_model": json.loads(args.settings)}
    names = sorted(Path(path).stem for path in args.experiments)
    catalogue = {name: experiment_settings(config, name) for name in names}
    networks = {name: s for name, s in catalogue.items() if s["method"] == "network"}
    rows = [describe_experiment(n, s) for n, s in progress(list(networks.items()), "networks")]
    write_table(pd.DataFrame(rows), args.out_networks, "networks", provenance(__file__, args))
    others = {"no network": len(catalogue) - len(networks)}
    log_counts("experiments", came_in=len(catalogue), dropped=others, went_out=len(rows))


if __name__ == "__main__":
    run_command(main)
