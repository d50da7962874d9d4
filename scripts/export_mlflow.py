"""Write runs into an MLflow store, a local file unless told otherwise.

Reads
    --runs  folders of train_model, each with record.json and history.csv
Writes
    the store that --store names: one MLflow run for each, its settings as parameters, its history
    as metrics, its record as an artifact
Method
    A run is known by the digest of its record: one that the store already has is left as it is.
    `mlflow ui --backend-store-uri STORE` (of the whole package mlflow) shows them.
Source
    MLflow, https://mlflow.org.
"""

import json
from pathlib import Path

from quorum.command import LOG, log_counts, make_parser, progress, run_command
from quorum.errors import InputError
from quorum.files import sha256_file
from quorum.tables import read_table

METRICS = ("loss", "learning_rate", "validation_dice")
TAG = "quorum.record_sha256"
EXPERIMENT = "quorum"
SQLITE = "sqlite:///"
STORE = f"{SQLITE}results/export_mlflow/mlflow.db"
# MLflow takes no longer value of a parameter.
MAX_LENGTH = 6000


def flat(value, place: str = "") -> dict:
    """Return nested settings as dotted keys."""
    if not isinstance(value, dict):
        return {place: value}
    return {k: v for key in value for k, v in flat(value[key], f"{place}.{key}".strip(".")).items()}


def open_store(store: str):
    """Return a client of an MLflow store and the number of its experiment.

    Raises
    ------
    InputError
        When MLflow is not installed.
    """
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise InputError(
            f"MLflow can't be imported ({error})",
            "the packages of envs/requirements-export.txt",
            "run `make env-export`",
        ) from error
    artifacts = None
    if store.startswith(SQLITE):
        folder = Path(store.removeprefix(SQLITE)).absolute().parent
        folder.mkdir(parents=True, exist_ok=True)
        artifacts = (folder / "artifacts").as_uri()
    client = MlflowClient(tracking_uri=store)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found:
        return client, found.experiment_id
    return client, client.create_experiment(EXPERIMENT, artifact_location=artifacts)


def export_run(client, experiment: str, folder: Path) -> bool:
    """Write one run, unless the store has it; tell whether it was written."""
    from mlflow.entities import Metric, Param, RunTag

    path = folder / "record.json"
    if not path.is_file():
        raise InputError(
            f"{folder} holds no record.json", "a folder of train_model", "name the run's folder"
        )
    digest, record = sha256_file(path), json.loads(path.read_text())
    if client.search_runs([experiment], f"tags.`{TAG}` = '{digest}'"):
        return False
    name = f"{record['experiment']}/fold{record['fold']}_seed{record['seed']}"
    tags = {TAG: digest, "data_kind": record["data_kind"]}
    run = client.create_run(experiment, run_name=name).info.run_id
    settings = flat(record["plan"]["settings"])
    params = [Param(key, str(value)[:MAX_LENGTH]) for key, value in settings.items()]
    metrics = []
    for row in read_table(folder / "history.csv", "history").to_dict("records"):
        values = {key: row[key] for key in METRICS if row[key] == row[key]}  # nan is not itself
        metrics += [Metric(key, float(v), 0, int(row["step"])) for key, v in values.items()]
    client.log_batch(run, [], params, [RunTag(key, str(value)) for key, value in tags.items()])
    for first in range(0, len(metrics), 1000):
        client.log_batch(run, metrics[first : first + 1000])
    client.log_artifact(run, str(path))
    client.set_terminated(run)
    return True


def main(argv=None):
    """Parse, open the store, write each run."""
    parser = make_parser(__doc__)
    parser.add_argument("--runs", required=True, nargs="+", type=Path, help="folders of runs")
    parser.add_argument("--store", default=STORE, help="MLflow's tracking URI")
    args = parser.parse_args(argv)
    client, experiment = open_store(args.store)
    written = [export_run(client, experiment, folder) for folder in progress(args.runs, "runs")]
    present = {"already in the store": len(written) - sum(written)}
    log_counts("runs", came_in=len(written), dropped=present, went_out=sum(written))
    LOG.info("the store: %s", args.store)


if __name__ == "__main__":
    run_command(main)
