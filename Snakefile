# What is built, and in which order. Rules: workflow/rules, in the order that data flows.
from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/annotations.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/readers.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/series.smk"
include: "workflow/rules/cubes.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/networks.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/explanations.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/handover.smk"
include: "workflow/rules/datasets.smk"


onstart:
    check_cluster()
    record_owner()
    claim_results(config)


onsuccess:
    remove_leftovers()


rule all:
    default_target: True
    input:
        "<results>/compare_readers/agreement.csv",
        "<results>/summarize_series/series.csv",
        "<results>/list_runs/runs.csv",
        "<results>/write_report/index.html",
        "<results>/write_cards/model_card.html",
        "<results>/write_summary/summary.pdf",


rule reproduce_papers:
    input:
        "<results>/compare_papers/reproduced.csv",
        "<results>/compare_with_readers/fifth_reader.csv",
        "<results>/write_report/index.html",


wildcard_constraints:
    shard=r"shard\d{2}",
    dataset=r"[a-z0-9_]+",
    # A name, and a sweep's values after it.
    experiment=r"[a-z0-9_]+(~[a-z0-9_]+=[A-Za-z0-9.+_-]+)*",
    fold=r"\d+",
    seed=r"\d+",
