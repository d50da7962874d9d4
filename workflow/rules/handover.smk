# What is handed on with the results: table 1, cards and checklists, one page for a meeting.


rule describe_splits:
    """Table 1 of each part of the split, and the model's Dice by each characteristic."""
    input:
        nodules=rules.select_nodules.output.nodules,
        splits=rules.split_patients.output.splits,
        findings=all_shards("<results>/check_series/{shard}.csv"),
        headers=all_shards("<results>/check_series/{shard}.headers.parquet"),
        scores=all_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
    output:
        table1="<results>/describe_splits/table1.csv",
        performance="<results>/describe_splits/performance.csv",
    log:
        "<logs>/describe_splits/describe_splits.log",
    benchmark:
        "<benchmarks>/describe_splits/describe_splits.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 1 s of CPU and 200 MB for 61 series; headers are read a shard at a time.
        mem_mb=grows(1500),
        runtime=grows(10),
    params:
        code=code_digest("describe_splits"),
        resamples=config["compare_experiments"]["bootstrap_resamples"],
        seed=config["compare_experiments"]["seed"],
    shell:
        "python scripts/describe_splits.py"
        " --nodules {input.nodules}"
        " --splits {input.splits}"
        " --findings {input.findings}"
        " --headers {input.headers}"
        " --scores {input.scores}"
        " --resamples {params.resamples}"
        " --seed {params.seed}"
        " --out-table1 {output.table1}"
        " --out-performance {output.performance}"
        " > {log} 2>&1"
