"""What cards and summary read: the same flags, and the run's facts from them."""

import argparse
import json

import pandas as pd

from quorum.card_facts import make_facts
from quorum.datasets import read_register
from quorum.errors import InputError
from quorum.run_files import read_record
from quorum.tables import read_table

TABLES = {
    "table1": "table_one",
    "performance": "performance",
    "agreement": "agreement",
    "attrition": "attrition",
    "summary": "summary",
    "fifth_reader": "fifth_reader",
}
MANY = {"findings": "findings", "dropped": "dropped_nodules"}
# The register's name of the collection whose outlines Quorum reads.
MARKED = "lidc_idri"


def add_inputs(parser: argparse.ArgumentParser):
    """Add the flags that the run's facts are read by."""
    for name in TABLES:
        parser.add_argument(f"--{name.replace('_', '-')}", required=True)
    for name in (*MANY, "scores", "records"):
        parser.add_argument(f"--{name}", required=True, nargs="+")
    parser.add_argument("--datasets", required=True, help="config/datasets.yaml")
    parser.add_argument("--settings", required=True, help="the configuration as JSON")


def read_facts(args) -> dict:
    """Return the run's facts from what the flags name.

    Raises
    ------
    InputError
        When a table is missing, an experiment has no record, or nothing was scored.
    """
    tables = {name: read_table(getattr(args, name), table) for name, table in TABLES.items()}
    for name, table in MANY.items():
        parts = [read_table(path, table) for path in getattr(args, name)]
        tables[name] = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
    scored = [read_table(path, "scores")["nodule_id"] for path in args.scores]
    tables["num_scored"] = pd.concat(scored).nunique()
    if not tables["num_scored"]:
        raise InputError(
            "the scores hold no nodule", "at least one scored run", "train and score one first"
        )
    records = [read_record(path) for path in args.records]
    register = read_register(args.datasets)
    return make_facts(tables, records, json.loads(args.settings), register[MARKED])
