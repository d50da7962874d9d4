"""Search the skips of BiX-Net on the training folds; write the architecture as an experiment.

Reads
    --plan    YAML of plan_experiment, of an experiment whose network is bixnas
    --splits  splits.csv
    --shards  every shard of cubes
Writes
    --out-architecture  YAML of an experiment: put it into config/experiments to retrain from it
    --out-tried         tried.csv, one row an architecture that was tried
Method
    A supernet holds every candidate: each decoder level takes features of any encoder level, and
    in the next iteration each encoder level those of any decoder level. First its weights and a
    relaxed choice (Gumbel softmax) are learned together, and each node keeps its two best. Then
    the weights are trained on under random subsets, and an evolution scores subsets by their Dice
    on nodules of the validation fold with the shared weights; of those within 0.002 of the best,
    the one of fewest skips is chosen. The scored fold and the test part are never opened.
Source
    Wang 2021, BiX-NAS (arXiv 2106.14033), at the scale of a CPU.
"""

import numpy as np
import pandas as pd
import torch
import yaml

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.plans import check_cube, nodules_of, read_plan, run_parts
from quorum.shards import open_shards
from quorum.skip_search import search
from quorum.stores import load_store
from quorum.tables import read_table, write_table

HEAD = """\
# BiX-Net with skips that a search chose on {data} (Wang 2021, BiX-NAS).
# Searched by search_skips: {train} nodules trained on, {validation} validated on (fold {fold} of
# {num_folds} never opened), {steps} steps of {batch} crops a phase, a population of {population},
# {generations} generations, seed {seed}; validation Dice {dice:.3f} with the shared weights.
"""
SCORED = 2  # marks the draw of validation nodules; the search's own is 1
DATA = {"scan": "real scans", "cut_out": "real nodules", "phantom": "phantom nodules"}


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="YAML of plan_experiment")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--fold", required=True, type=int, help="the fold that is never opened")
    parser.add_argument("--num-folds", required=True, type=int, help="how many folds there are")
    parser.add_argument("--seed", required=True, type=int, help="seed of weights, batches, choice")
    parser.add_argument("--steps", required=True, type=int, help="training steps of each phase")
    parser.add_argument("--population", required=True, type=int, help="architectures a generation")
    parser.add_argument("--generations", required=True, type=int, help="generations of evolution")
    parser.add_argument("--num-scored", required=True, type=int, help="validation nodules drawn")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-architecture", required=True, help="YAML to write")
    parser.add_argument("--out-tried", required=True, help="CSV to write")
    return parser.parse_args(argv)


def tried_table(tried: list, data_kind: str) -> pd.DataFrame:
    """Return one row an architecture that was tried: (generation, Dice, skips)."""
    rows = [
        {
            "generation": generation,
            "validation_dice": dice,
            "num_skips": sum(len(s) for kind in skips.values() for t in kind for s in t),
            **{name: str(value) for name, value in skips.items()},
            "data_kind": data_kind,
        }
        for generation, dice, skips in tried
    ]
    return pd.DataFrame(rows)


def drawn(nodules: list, count: int, *, seed: int) -> list:
    """Return at most so many of the nodules, drawn without replacement."""
    chance = np.random.default_rng([seed, SCORED])
    return sorted(chance.choice(nodules, min(count, len(nodules)), replace=False).tolist())


def head_of(args, settings: dict, stores: tuple, *, data_kind: str, dice: float) -> str:
    """Return the comment of the experiment: what was searched on, and for how long."""
    return HEAD.format(
        data=DATA[data_kind],
        train=len(stores[0]),
        validation=len(stores[1]),
        batch=settings["batch_size"],
        dice=dice,
        **vars(args),
    )


def main(argv=None):
    """Parse, search, write."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    plan = read_plan(args.plan)
    settings = plan["settings"]
    if settings["network"]["name"] != "bixnas":
        raise InputError(
            f"the plan {plan['name']} is of {settings['network']['name']}",
            "a plan whose network is bixnas",
            "give the plan of the experiment bixnas",
        )
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    check_cube(settings, cubes.shape_vox)
    parts = run_parts(args.fold, args.num_folds)
    train = load_store(
        cubes, nodules_of(cubes, splits, parts["train"]), has_staple=settings["target"] == "staple"
    )
    scored = drawn(nodules_of(cubes, splits, parts["validate"]), args.num_scored, seed=args.seed)
    validation = load_store(cubes, scored, consensus=plan["consensus"])
    evolution = {"population": args.population, "generations": args.generations}
    chosen, tried = search(
        settings, (train, validation), steps=args.steps, seed=args.seed, evolution=evolution
    )
    network = {"name": "bixnas", "channels": settings["network"]["channels"], **chosen}
    dice = next(dice for _, dice, skips in tried if skips == chosen)
    head = head_of(args, settings, (train, validation), data_kind=cubes.data_kind, dice=dice)
    with write_whole(args.out_architecture) as temporary:
        text = yaml.safe_dump({"network": network}, sort_keys=False, default_flow_style=None)
        temporary.write_text(head + text, encoding="utf-8")
    table = tried_table(tried, cubes.data_kind)
    write_table(table, args.out_tried, "tried_skips", provenance(__file__, args))
    LOG.info("chosen: %s", chosen)
    log_counts("architectures", came_in=len(table), dropped={}, went_out=len(table))


if __name__ == "__main__":
    run_command(main)
