"""Turn the benchmark files of runs into time and memory per rule, experiment and item.

Reads
    results folders: benchmarks/<rule>/**.tsv (Snakemake's), plan_shards/shards.csv,
    split_patients/splits.csv and train_model/**/record.json, for the number of items;
    check_series/*.csv for the kind of images.

Writes
    out-costs  CSV, schema costs: one row a rule, experiment and kind of images.

Method
    Time an item is the sum over the jobs, divided by the sum of their items: CPU seconds (all
    processes of the job) and wall seconds. On a machine that does other work too, the CPU seconds
    are the measurement and the wall seconds an upper bound. Memory is the largest of any job.
"""

import json
from pathlib import Path

import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

ITEMS = {
    "simulate_series": "series",
    "download_series": "series",
    "check_series": "series",
    "extract_cubes": "nodule",
    "predict_cubes": "nodule",
    "score_predictions": "nodule",
    "train_model": "step",
}


def job_rows(results: Path) -> pd.DataFrame:
    """Return one row a benchmark: rule, experiment, job's name, s, cpu_time, max_rss.

    Raises
    ------
    InputError
        When there is no benchmark.
    """
    rows = []
    for path in sorted((results / "benchmarks").rglob("*.tsv")):
        rule, *folders = path.relative_to(results / "benchmarks").parent.parts
        values = pd.read_csv(path, sep="\t", na_values="-").iloc[-1]
        names = {"rule": rule, "experiment": "/".join(folders), "job": path.stem}
        rows.append(names | {key: float(values[key]) for key in ("s", "cpu_time", "max_rss")})
    if not rows:
        raise InputError(
            f"no benchmark lies below {results / 'benchmarks'}",
            "the results folder of a run",
            "run the pipeline first: make run",
        )
    return pd.DataFrame(rows).fillna({"cpu_time": 0.0, "max_rss": 0.0})


def count_items(results: Path, job: dict) -> int:
    """Return how many items a job worked on; 1 where they are not known."""
    item = ITEMS.get(job["rule"])
    if item is None:
        return 1
    fold = job["job"].split("_")[0]
    if job["rule"] in ("predict_cubes", "score_predictions"):
        splits = read_table(results / "split_patients" / "splits.csv", "splits")
        return max(1, int(splits.loc[splits["part"] == fold, "num_nodules"].sum()))
    if item == "step":
        record = results / "train_model" / job["experiment"] / job["job"] / "record.json"
        return max(1, json.loads(record.read_text())["num_steps"] if record.is_file() else 1)
    plan = read_table(results / "plan_shards" / "shards.csv", "shard_plan").set_index("shard")
    column = "num_nodules" if item == "nodule" else "num_series"
    return max(1, int(plan.loc[job["job"], column]))


def read_kind(results: Path) -> str:
    """Return the kind of a run's images, such as `phantom`; `none` where there are none."""
    for path in sorted((results / "check_series").glob("shard??.csv")):
        kinds = pd.read_csv(path, usecols=["data_kind"])["data_kind"]
        if len(kinds):
            return str(kinds.iloc[0])
    return "none"


def summarize(jobs: pd.DataFrame) -> pd.DataFrame:
    """Return one row a rule, experiment and kind; `jobs` has columns num_items and data_kind.

    The baselines have no steps: their item is the job.
    """
    rows = []
    keys = ["rule", "experiment", "data_kind"]
    for (rule, experiment, data_kind), group in jobs.groupby(keys, sort=True):
        num_items = int(group["num_items"].sum())
        is_fitted = rule == "train_model" and num_items == len(group)
        rows.append(
            {
                "rule": rule,
                "experiment": experiment,
                "data_kind": data_kind,
                "item": "job" if is_fitted else ITEMS.get(rule, "job"),
                "num_jobs": len(group),
                "num_items": num_items,
                "cpu_s_per_item": round(group["cpu_time"].sum() / num_items, 4),
                "wall_s_per_item": round(group["s"].sum() / num_items, 4),
                "max_wall_s": round(group["s"].max(), 2),
                "max_memory_mb": round(group["max_rss"].max(), 1),
            }
        )
    return pd.DataFrame(rows)


def main(argv=None):
    """Read the benchmarks, count the items, write and print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--results", type=Path, nargs="+", required=True, help="of one run each")
    parser.add_argument("--out-costs", type=Path, required=True, help="costs.csv to write")
    args = parser.parse_args(argv)
    runs = []
    for results in args.results:
        run = job_rows(results).assign(data_kind=read_kind(results))
        run["num_items"] = [count_items(results, job) for job in run.to_dict("records")]
        runs.append(run)
    jobs = pd.concat(runs)
    costs = summarize(jobs)
    write_table(costs, args.out_costs, "costs", provenance(__file__, args))
    LOG.info("%d benchmarks of %d rules", len(jobs), costs["rule"].nunique())
    print(costs.to_string(index=False))


if __name__ == "__main__":
    run_command(main)
