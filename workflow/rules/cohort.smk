# Which nodules, compared how, in which shard, for which part of the split.


rule select_nodules:
    """The cohort, and how many nodules each criterion dropped."""
    input:
        nodules=rules.group_annotations.output.nodules,
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
        files=local_files,
    output:
        nodules="<results>/select_nodules/nodules.csv",
        attrition=report(
            "<results>/select_nodules/attrition.csv",
            caption=caption("attrition"),
            category="Cohort",
        ),
    log:
        "<logs>/select_nodules/select_nodules.log",
    benchmark:
        "<benchmarks>/select_nodules/select_nodules.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured on all 2651 nodules: 230 MB, 1 s
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("select_nodules"),
        criteria=json.dumps(config["select_nodules"], sort_keys=True),
    shell:
        "python scripts/select_nodules.py"
        " --nodules {input.nodules}"
        " --series {input.series}"
        " --slices {input.slices}"
        " --files {input.files}"
        " --criteria {params.criteria:q}"
        " --out-nodules {output.nodules}"
        " --out-attrition {output.attrition}"
        " > {log} 2>&1"


rule compare_readers:
    """Agreement of the readers of each selected nodule on the native grid, without images."""
    input:
        nodules=rules.select_nodules.output.nodules,
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
        contours=rules.read_annotations.output.contours,
    output:
        agreement="<results>/compare_readers/agreement.csv",
    log:
        "<logs>/compare_readers/compare_readers.log",
    benchmark:
        "<benchmarks>/compare_readers/compare_readers.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        # measured on 897 nodules: 310 MB a process, 7 to 16 s
        mem_mb=1500,
        runtime=10,
    params:
        code=code_digest("compare_readers"),
    shell:
        "python scripts/compare_readers.py"
        " --nodules {input.nodules}"
        " --series {input.series}"
        " --slices {input.slices}"
        " --contours {input.contours}"
        " --threads {threads}"
        " --out-agreement {output.agreement}"
        " > {log} 2>&1"


checkpoint plan_shards:
    """Each shard's nodules and expected disk; a series stays in its shard whatever the cohort."""
    input:
        nodules=rules.select_nodules.output.nodules,
        series=rules.list_series.output.series,
    output:
        shards=all_shards("<results>/plan_shards/{shard}.csv"),
        summary="<results>/plan_shards/shards.csv",
    log:
        "<logs>/plan_shards/plan_shards.log",
    benchmark:
        "<benchmarks>/plan_shards/plan_shards.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured on 897 nodules: 120 MB, 1 s
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("plan_shards"),
        num_shards=config["plan_shards"]["num_shards"],
    shell:
        "python scripts/plan_shards.py"
        " --nodules {input.nodules}"
        " --series {input.series}"
        " --num-shards {params.num_shards}"
        " --out-shards {output.shards}"
        " --out-summary {output.summary}"
        " > {log} 2>&1"


rule split_patients:
    """A locked test part and the folds, disjoint by patient and balanced."""
    input:
        nodules=rules.select_nodules.output.nodules,
    output:
        splits="<results>/split_patients/splits.csv",
    log:
        "<logs>/split_patients/split_patients.log",
    benchmark:
        "<benchmarks>/split_patients/split_patients.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured on 897 nodules: 150 MB, 1 s
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("split_patients"),
        test_fraction=config["split_patients"]["test_fraction"],
        num_folds=config["split_patients"]["num_folds"],
        seed=config["split_patients"]["seed"],
    shell:
        "python scripts/split_patients.py"
        " --nodules {input.nodules}"
        " --test-fraction {params.test_fraction}"
        " --num-folds {params.num_folds}"
        " --seed {params.seed}"
        " --out-splits {output.splits}"
        " > {log} 2>&1"
