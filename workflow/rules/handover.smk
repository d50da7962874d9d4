# What is handed on with the results: table 1, cards and checklists, one page for a meeting.
from quorum.card_files import BLOCKS, FILES, handover_digest


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


rule write_cards:
    """Model card, data card, methods paragraph, checklists and references, filled from the run."""
    input:
        table1=rules.describe_splits.output.table1,
        performance=rules.describe_splits.output.performance,
        agreement=rules.compare_readers.output.agreement,
        attrition=rules.select_nodules.output.attrition,
        summary=rules.compare_experiments.output.summary,
        fifth_reader=rules.compare_with_readers.output.fifth_reader,
        findings=all_shards("<results>/check_series/{shard}.csv"),
        dropped=all_shards("<results>/extract_cubes/{shard}.dropped.csv"),
        scores=all_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
        records=all_runs("<results>/train_model/{experiment}/fold{fold}_seed{seed}/record.json"),
        datasets=local("config/datasets.yaml"),
    output:
        files=expand("<results>/write_cards/{file}", file=FILES),
    log:
        "<logs>/write_cards/write_cards.log",
    benchmark:
        "<benchmarks>/write_cards/write_cards.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 1.2 s of CPU, 150 MB.
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        code=code_digest("write_cards"),
        templates=handover_digest(),
        settings=json.dumps({block: config[block] for block in BLOCKS}, sort_keys=True),
    shell:
        "python scripts/write_cards.py"
        " --table1 {input.table1}"
        " --performance {input.performance}"
        " --agreement {input.agreement}"
        " --attrition {input.attrition}"
        " --summary {input.summary}"
        " --fifth-reader {input.fifth_reader}"
        " --findings {input.findings}"
        " --dropped {input.dropped}"
        " --scores {input.scores}"
        " --records {input.records}"
        " --datasets {input.datasets}"
        " --settings {params.settings:q}"
        " --out-files {output.files}"
        " > {log} 2>&1"


rule write_summary:
    """One page for a lab meeting, as PDF."""
    input:
        table1=rules.describe_splits.output.table1,
        performance=rules.describe_splits.output.performance,
        agreement=rules.compare_readers.output.agreement,
        attrition=rules.select_nodules.output.attrition,
        summary=rules.compare_experiments.output.summary,
        fifth_reader=rules.compare_with_readers.output.fifth_reader,
        findings=all_shards("<results>/check_series/{shard}.csv"),
        dropped=all_shards("<results>/extract_cubes/{shard}.dropped.csv"),
        scores=all_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
        records=all_runs("<results>/train_model/{experiment}/fold{fold}_seed{seed}/record.json"),
        datasets=local("config/datasets.yaml"),
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
        predictions=all_runs("<results>/predict_cubes/{experiment}/fold{fold}_seed{seed}.h5"),
    output:
        summary="<results>/write_summary/summary.pdf",
    log:
        "<logs>/write_summary/write_summary.log",
    benchmark:
        "<benchmarks>/write_summary/write_summary.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 1.8 s of CPU, 200 MB.
        mem_mb=grows(1000),
        runtime=grows(10),
    params:
        code=code_digest("write_summary"),
        settings=json.dumps({block: config[block] for block in BLOCKS}, sort_keys=True),
    shell:
        "python scripts/write_summary.py"
        " --table1 {input.table1}"
        " --performance {input.performance}"
        " --agreement {input.agreement}"
        " --attrition {input.attrition}"
        " --summary {input.summary}"
        " --fifth-reader {input.fifth_reader}"
        " --findings {input.findings}"
        " --dropped {input.dropped}"
        " --scores {input.scores}"
        " --records {input.records}"
        " --datasets {input.datasets}"
        " --settings {params.settings:q}"
        " --shards {input.shards}"
        " --predictions {input.predictions}"
        " --out-summary {output.summary}"
        " > {log} 2>&1"
