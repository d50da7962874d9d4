"""Everything the report reads, checked to belong together before a word is written."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import pandas as pd

from quorum.datasets import read_register
from quorum.errors import InputError
from quorum.explanation_files import read_explanations
from quorum.report.consistency import check_cohort, check_experiments
from quorum.report.handed import handed_links
from quorum.report.runs import read_run
from quorum.settings import SCHEMAS, load_yaml
from quorum.shards import CubeSet, open_shards
from quorum.tables import load_schema, read_table

SINGLE = {
    "series": "series",
    "nodules": "nodules",
    "attrition": "attrition",
    "agreement": "agreement",
    "shard_plan": "shard_plan",
    "splits": "splits",
    "checks": "checks",
    "volumes": "volumes",
    "summary": "summary",
    "offsets": "offsets",
}
MANY = {
    "findings": "findings",
    "dropped": "dropped_nodules",
    "histories": "history",
    "scores": "scores",
}
KINDS = {
    "phantom": "phantom images",
    "scan": "whole scans",
    "cut_out": "volumes cut out around nodules",
    "empty": "no images",
}


@dataclass(frozen=True)
class Inputs:
    """The report's inputs; tables as DataFrames under their flags' names.

    Attributes
    ----------
    settings : dict
        The run's configuration without its paths.
    data_kind : str
        phantom, scan, cut_out, or empty where no cube was made.
    experiments : list of str
        In the configuration's order.
    cubes : CubeSet
    predictions : list of Run
    records : list of dict
    published : dict
        Rows by topic.
    datasets : dict
        The register of collections by name; empty where none is given.
    origins : dict
        What made each table, from the metadata beside it.
    benchmarks : Path
    tables : dict
        Further tables by their schema's name; what was not made isn't in it.
    viewer_bundle : str
        NiiVue's script; empty where the report has no viewer.
    explanations : list
        Activation maps, one object a run, each with `of_nodule(nodule_id)`.
    max_viewer_nodules : int or None
        How many cubes the viewer can open; None: all.
    handed : list of dict
        Cards and summary that lie beside the report: words, link.
    """

    settings: dict
    data_kind: str
    experiments: list
    cubes: CubeSet
    predictions: list
    records: list
    published: dict
    datasets: dict
    origins: dict
    benchmarks: Path
    frames: dict
    tables: dict = field(default_factory=dict)
    viewer_bundle: str = ""
    explanations: list = field(default_factory=list)
    max_viewer_nodules: int | None = None
    handed: list = field(default_factory=list)

    def __getattr__(self, name: str) -> pd.DataFrame:
        """Return a table by its flag's name."""
        frames = self.__dict__.get("frames", {})
        if name not in frames:
            raise AttributeError(name)
        return frames[name]

    @property
    def methods(self) -> dict:
        """Each experiment's method, such as network or threshold."""
        return {run.experiment: run.method for run in self.predictions}

    @property
    def shown_experiment(self) -> str | None:
        """The experiment whose predictions the gallery shows first: the last network, or None.

        By the configuration's order, where networks stand behind baselines; no score decides.
        """
        networks = [name for name in self.experiments if self.methods.get(name) == "network"]
        return (networks or self.experiments or [None])[-1]

    def tone(self, experiment: str) -> int:
        """Return the number of an experiment's colour in charts: its place, readers the last."""
        known = experiment in self.experiments
        return self.experiments.index(experiment) if known else len(self.experiments)


def read_inputs(args) -> Inputs:
    """Read and check what the script's flags name.

    Raises
    ------
    InputError
        When a file is missing or unreadable, an experiment lacks scores or predictions, a
        prediction is no number, or tables speak of another cohort.
    """
    frames = {flag: read_table(getattr(args, flag), table) for flag, table in SINGLE.items()}
    for flag, table in MANY.items():
        frames[flag] = join_tables(getattr(args, flag), table)
    cubes = open_shards(args.shards)
    predictions = [read_run(path) for path in args.predictions]
    inputs = Inputs(
        settings=read_settings(args.settings),
        data_kind=cubes.data_kind,
        experiments=list(dict.fromkeys(one.experiment for one in predictions)),
        cubes=cubes,
        predictions=predictions,
        records=[read_json(path) for path in args.records],
        published=read_published(args.published),
        datasets=read_register(args.datasets) if args.datasets else {},
        origins=read_origins(args),
        benchmarks=Path(args.benchmarks),
        frames=frames,
        tables=read_tables(args.tables),
        viewer_bundle=args.viewer,
        explanations=[read_explanations(path) for path in args.explanations],
        max_viewer_nodules=args.max_viewer_nodules,
        handed=handed_links(args.handed, args.out_page),
    )
    check_cohort(inputs)
    check_experiments(inputs)
    return inputs


def join_tables(paths, table: str) -> pd.DataFrame:
    """Return several tables of one schema as one; of none, an empty one."""
    parts = [read_table(path, table) for path in paths]
    if not parts:
        return pd.DataFrame(columns=[column["name"] for column in load_schema(table)["columns"]])
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(filled, ignore_index=True)


def read_tables(paths) -> dict:
    """Return tables by their schema's name, which the metadata beside each one states.

    Files of one schema, such as one a run, become one table.
    """
    by_name = {}
    for path in paths:
        by_name.setdefault(table_of(path), []).append(path)
    return {name: join_tables(files, name) for name, files in by_name.items()}


def table_of(path) -> str:
    """Return the name of a table's schema, from the metadata beside it."""
    try:
        return json.loads(Path(f"{path}-metadata.json").read_text(encoding="utf-8"))["table"]
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise InputError(
            f"the table {path} or the metadata beside it is missing ({error})",
            f"a table of the pipeline with {Path(path).name}-metadata.json in the same folder",
            "run Snakemake, which makes both",
        ) from error


def read_settings(text: str) -> dict:
    """Return the configuration that the flag holds as JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"--settings is no JSON ({error})",
            "the configuration as one JSON object",
            "pass '{}' when there is none",
        ) from error


def read_json(path) -> dict:
    """Return the content of one run's record."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"the record {path} can't be read ({error})",
            "the record.json that train_model writes",
            "make it again with the rule train_model",
        ) from error


def read_published(paths) -> dict:
    """Return the published figures by topic, each file checked against its schema."""
    schema = load_yaml(SCHEMAS / "published.schema.yaml")
    published = {}
    for path in paths:
        try:
            content = load_yaml(path)
            jsonschema.validate(content, schema)
        except OSError as error:
            raise InputError(
                f"the figures of papers in {path} can't be read ({error.strerror})",
                "a file of config/published",
                "name an existing file",
            ) from error
        except jsonschema.ValidationError as error:
            place = ".".join(str(part) for part in error.absolute_path) or "the top level"
            raise InputError(
                f"{path} breaks its schema at {place}: {error.message.splitlines()[0][:200]}",
                "rows as workflow/schemas/published.schema.yaml describes them",
                "correct that row",
            ) from error
        published[content["topic"]] = content["rows"]
    return published


def read_origins(args) -> dict:
    """Return what made each table, by flag, from `<table>.csv-metadata.json` where it is."""
    origins = {}
    for flag in (*SINGLE, *MANY):
        value = getattr(args, flag)
        for path in value if isinstance(value, list) else [value]:
            beside = Path(f"{path}-metadata.json")
            if beside.is_file():
                origins.setdefault(flag, []).append(read_json(beside)["made_by"])
    return origins
