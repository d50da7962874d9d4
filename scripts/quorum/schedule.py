"""A run before it starts: its jobs by rule, and when they end on so many nodes."""

import argparse
import heapq
import re
from collections import Counter
from math import prod

import yaml

from quorum.settings import load_yaml, merge

# A job costs a start on top of its work: sbatch, srun, Snakemake and imports, measured [s].
START_S = 20.0
STAGES = (
    {"find_series"},
    {"simulate_series", "download_series", "check_series", "extract_cubes"},
    {"check_cubes"},
    {"train_model"},
    {"predict_cubes"},
    {"score_predictions"},  # and what else there is on the predictions
    {"write_report"},
)
LAST_WORK = STAGES[-2]
GROUPED = STAGES[1]


def count_jobs(text: str) -> Counter:
    """Return how many jobs of each rule a dry-run's table names; empty when nothing is to do."""
    table = text.split("Job stats:")[-1] if "Job stats:" in text else ""
    counts = Counter({name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", table, re.M)})
    for name in ("total", "all"):
        counts.pop(name, None)
    return counts


def submitted(counts: Counter, local_rules: set) -> int:
    """Return how many jobs reach the cluster: small rules stay, a shard's rules are one job."""
    num_single = sum(n for rule, n in counts.items() if rule not in local_rules | GROUPED)
    return num_single + max((counts[rule] for rule in GROUPED), default=0)


def read_config(flags: list) -> dict:
    """Return the configuration that Snakemake's flags give."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    parser.add_argument("--config", "-C", nargs="+", default=[])
    args, _ = parser.parse_known_args(flags)
    config = load_yaml("config/config.yaml")
    for path in args.configfile:
        config = merge(config, load_yaml(path) or {})
    for pair in args.config:
        key, _, value = pair.partition("=")
        config = merge(config, {key: yaml.safe_load(value)})
    return config


def work_of_step(settings: dict) -> float:
    """Return a number in proportion to the multiplications of one step of a convolutional net."""
    crop = settings["training_crop_vox"] or settings["crop_vox"]
    width = settings["network"].get("channels", [16])[0]
    batch = settings["batch_size"] * settings["accumulate_batches"]
    return float(prod(crop) * width**2 * batch)


def simulate(counts: Counter, seconds: dict, num_nodes: int) -> float:
    """Return the seconds until the last job ends on `num_nodes` nodes of one job each.

    Parameters
    ----------
    counts : Counter
        Jobs by rule, without those of the head node.
    seconds : dict
        A job's by rule.
    """
    now, others = 0.0, set(counts) - set().union(*STAGES)
    for stage in STAGES:
        if stage == LAST_WORK:
            stage = stage | others
        if stage == GROUPED:
            num = max((counts[rule] for rule in stage), default=0)
            jobs = [sum(seconds[r] for r in stage if counts[r])] * num
        else:
            jobs = [seconds[rule] for rule in stage for _ in range(counts[rule])]
        free = [now] * num_nodes
        for job in jobs:
            heapq.heappush(free, heapq.heappop(free) + START_S + job)
        now = max(free)
    return now
