# How good the answers are: scored, compared, tested against the readers, set beside papers.


rule freeze_plan:
    """The analysis plan and its digest, stored before the test part is predicted."""
    input:
        plan=local("config/analysis_plan.yaml"),
    output:
        plan="<results>/freeze_plan/plan.json",
    log:
        "<logs>/freeze_plan/freeze_plan.log",
    benchmark:
        "<benchmarks>/freeze_plan/freeze_plan.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 118 MB, 1 s.
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("freeze_plan"),
        looks=whole_path("<results>/freeze_plan/looks"),
    shell:
        "python scripts/freeze_plan.py"
        " --plan {input.plan}"
        " --looks {params.looks}"
        " --out-plan {output.plan}"
        " > {log} 2>&1"


rule score_predictions:
    """Each nodule's scores of model and readers, on the same grid and region."""
    input:
        predictions=predictions_of,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
        splits=rules.split_patients.output.splits,
        agreement=rules.compare_readers.output.agreement,
        frozen_plan=frozen_plan,
    output:
        scores="<results>/score_predictions/{experiment}/{run}.csv",
        nodules="<results>/score_predictions/{experiment}/{run}.nodules.csv",
        calibration="<results>/score_predictions/{experiment}/{run}.calibration.csv",
    log:
        "<logs>/score_predictions/{experiment}/{run}.log",
    benchmark:
        "<benchmarks>/score_predictions/{experiment}/{run}.tsv"
    wildcard_constraints:
        run=r"fold\d+_seed\d+|ensemble",
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 190 MB; 5 s for 113 real nodules.
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        code=code_digest("score_predictions"),
        consensus=config["consensus"],
        looks=whole_path("<results>/freeze_plan/looks"),
    shell:
        "python scripts/score_predictions.py"
        " --predictions {input.predictions}"
        " --shards {input.shards}"
        " --splits {input.splits}"
        " --agreement {input.agreement}"
        " --consensus {params.consensus}"
        " --frozen-plan {input.frozen_plan}"
        " --looks {params.looks}"
        " --out-scores {output.scores}"
        " --out-nodules {output.nodules}"
        " --out-calibration {output.calibration}"
        " > {log} 2>&1"


rule compare_experiments:
    """All runs side by side with the readers, with intervals by bootstrap over patients."""
    input:
        scores=scored_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
        nodule_scores=scored_runs(
            "<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.nodules.csv"
        ),
        calibrations=scored_runs(
            "<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.calibration.csv"
        ),
        plan=local("config/analysis_plan.yaml"),
    output:
        summary=report(
            "<results>/compare_experiments/summary.csv",
            caption=caption("summary"),
            category="Models",
        ),
        offsets="<results>/compare_experiments/offsets.csv",
        pairs="<results>/compare_experiments/pairs.csv",
        spread="<results>/compare_experiments/spread.csv",
        ranks="<results>/compare_experiments/ranks.csv",
        bland_altman="<results>/compare_experiments/bland_altman.csv",
        calibration="<results>/compare_experiments/calibration.csv",
    log:
        "<logs>/compare_experiments/compare_experiments.log",
    benchmark:
        "<benchmarks>/compare_experiments/compare_experiments.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 144 MB, 2 s for six experiments.
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("compare_experiments"),
        resamples=config["compare_experiments"]["bootstrap_resamples"],
        seed=config["compare_experiments"]["seed"],
    shell:
        "python scripts/compare_experiments.py"
        " --scores {input.scores}"
        " --nodule-scores {input.nodule_scores}"
        " --calibrations {input.calibrations}"
        " --plan {input.plan}"
        " --resamples {params.resamples}"
        " --seed {params.seed}"
        " --out-summary {output.summary}"
        " --out-offsets {output.offsets}"
        " --out-pairs {output.pairs}"
        " --out-spread {output.spread}"
        " --out-ranks {output.ranks}"
        " --out-bland-altman {output.bland_altman}"
        " --out-calibration {output.calibration}"
        " > {log} 2>&1"


rule compare_with_readers:
    """The fifth reader test, by the plan that was frozen: endpoints, groups, failures first."""
    input:
        scores=all_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
        test_scores=test_scores(),
        nodules=rules.select_nodules.output.nodules,
        series=rules.list_series.output.series,
        frozen_plan=rules.freeze_plan.output.plan,
    output:
        fifth_reader=report(
            "<results>/compare_with_readers/fifth_reader.csv",
            caption=caption("fifth_reader"),
            category="Models",
        ),
        by_group="<results>/compare_with_readers/by_group.csv",
        nodules="<results>/compare_with_readers/nodules.csv",
        looks="<results>/compare_with_readers/looks.csv",
    log:
        "<logs>/compare_with_readers/compare_with_readers.log",
    benchmark:
        "<benchmarks>/compare_with_readers/compare_with_readers.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured on the tiny run: 158 MB, 2 s.
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("compare_with_readers"),
        looks=whole_path("<results>/freeze_plan/looks"),
    shell:
        "python scripts/compare_with_readers.py"
        " --scores {input.scores}"
        " --test-scores {input.test_scores}"
        " --nodules {input.nodules}"
        " --series {input.series}"
        " --frozen-plan {input.frozen_plan}"
        " --looks {params.looks}"
        " --out-fifth-reader {output.fifth_reader}"
        " --out-by-group {output.by_group}"
        " --out-nodules {output.nodules}"
        " --out-looks {output.looks}"
        " > {log} 2>&1"


rule compare_papers:
    """Each published number beside our run of the nearest protocol, differences spelled out."""
    input:
        published=local(published_files()),
        scores=paper_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
        nodule_scores=paper_runs(
            "<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.nodules.csv"
        ),
        splits=rules.split_patients.output.splits,
    output:
        papers="<results>/compare_papers/{papers}.csv",
    log:
        "<logs>/compare_papers/{papers}.log",
    benchmark:
        "<benchmarks>/compare_papers/{papers}.tsv"
    wildcard_constraints:
        papers="papers|reproduced",
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured on the tiny run: 149 MB, 1 s.
        mem_mb=1000,
        runtime=10,
    params:
        code=code_digest("compare_papers"),
        consensus=config["consensus"],
        resamples=config["compare_experiments"]["bootstrap_resamples"],
        seed=config["compare_experiments"]["seed"],
    shell:
        "python scripts/compare_papers.py"
        " --published {input.published}"
        " --scores {input.scores}"
        " --nodule-scores {input.nodule_scores}"
        " --splits {input.splits}"
        " --consensus {params.consensus}"
        " --resamples {params.resamples}"
        " --seed {params.seed}"
        " --out-papers {output.papers}"
        " > {log} 2>&1"
