# Where networks look, and the networks that classify: off by default, made for their maps.


rule explain_predictions:
    """Activation maps of a few nodules of each network's run, with the check by drawn weights."""
    input:
        plan=rules.plan_experiment.output.plan,
        model=rules.train_model.output.model,
        predictions=rules.predict_cubes.output.predictions,
        slices=position_slices,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        maps="<results>/explain_predictions/{experiment}/fold{fold}_seed{seed}.h5",
        sanity="<results>/explain_predictions/{experiment}/fold{fold}_seed{seed}.sanity.csv",
    log:
        "<logs>/explain_predictions/{experiment}/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/explain_predictions/{experiment}/fold{fold}_seed{seed}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 1.1 GB; 17 s of CPU for the tiny run.
        mem_mb=grows(3000),
        runtime=grows(30),
    params:
        code=run_code("explain_predictions"),
        num_nodules=config["explain_predictions"]["num_nodules"],
        methods=config["explain_predictions"]["methods"],
        patch_vox=config["explain_predictions"]["patch_vox"],
        seed=config["explain_predictions"]["seed"],
    shell:
        "python scripts/explain_predictions.py"
        " --plan {input.plan}"
        " --model {input.model}"
        " --predictions {input.predictions}"
        " --shards {input.shards}"
        " --slices {input.slices}"
        " --num-nodules {params.num_nodules}"
        " --methods {params.methods}"
        " --patch-vox {params.patch_vox}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out-maps {output.maps}"
        " --out-sanity {output.sanity}"
        " > {log} 2>&1"


rule train_classifier:
    """A network for the radiologists' suspicion of malignancy, of one label, fold and seed."""
    input:
        labels=rules.label_malignancy.output.labels,
        splits=rules.split_patients.output.splits,
        accepted=rules.accept_cubes.output.accepted,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        model="<results>/train_classifier/{label}/fold{fold}_seed{seed}/model.pt",
        history="<results>/train_classifier/{label}/fold{fold}_seed{seed}/history.csv",
    log:
        "<logs>/train_classifier/{label}/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/train_classifier/{label}/fold{fold}_seed{seed}.tsv"
    wildcard_constraints:
        label="[a-z0-9_]+",
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        # Measured: 1.2 GB; 117 s of CPU for 200 steps on 287 real nodules.
        mem_mb=grows(3000),
        runtime=grows(60),
    params:
        code=code_digest("train_classifier"),
        settings=classifier_settings(),
        num_folds=config["split_patients"]["num_folds"],
    shell:
        "python scripts/train_classifier.py"
        " --labels {input.labels}"
        " --label-rule {wildcards.label}"
        " --settings {params.settings:q}"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --fold {wildcards.fold}"
        " --num-folds {params.num_folds}"
        " --seed {wildcards.seed}"
        " --threads {threads}"
        " --out-model {output.model}"
        " --out-history {output.history}"
        " > {log} 2>&1"


rule score_classifier:
    """A label's classifiers on the folds that they held out, beside the diameter alone."""
    input:
        models=expand(
            rules.train_classifier.output.model,
            fold=config["run_folds"],
            seed=config["seeds"],
            allow_missing=True,
        ),
        labels=rules.label_malignancy.output.labels,
        splits=rules.split_patients.output.splits,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        scores="<results>/score_classifier/{label}.csv",
        summary="<results>/score_classifier/{label}.summary.csv",
        calibration="<results>/score_classifier/{label}.calibration.csv",
    log:
        "<logs>/score_classifier/{label}.log",
    benchmark:
        "<benchmarks>/score_classifier/{label}.tsv"
    wildcard_constraints:
        label="[a-z0-9_]+",
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 0.7 GB; 30 s of CPU for one fold of 72 real nodules and 2,000 resamples.
        mem_mb=grows(2000),
        runtime=grows(30),
    params:
        code=code_digest("score_classifier"),
        resamples=config["compare_experiments"]["bootstrap_resamples"],
        seed=config["compare_experiments"]["seed"],
    shell:
        "python scripts/score_classifier.py"
        " --models {input.models}"
        " --labels {input.labels}"
        " --label-rule {wildcards.label}"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --resamples {params.resamples}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out-scores {output.scores}"
        " --out-summary {output.summary}"
        " --out-calibration {output.calibration}"
        " > {log} 2>&1"


rule explain_classifier:
    """Activation maps of a few nodules of each classifier, with the check by drawn weights."""
    input:
        model=rules.train_classifier.output.model,
        scores=rules.score_classifier.output.scores,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        maps="<results>/explain_classifier/{label}/fold{fold}_seed{seed}.h5",
        sanity="<results>/explain_classifier/{label}/fold{fold}_seed{seed}.sanity.csv",
    log:
        "<logs>/explain_classifier/{label}/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/explain_classifier/{label}/fold{fold}_seed{seed}.tsv"
    wildcard_constraints:
        label="[a-z0-9_]+",
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Less than explain_predictions: the same maps of a smaller network.
        mem_mb=grows(3000),
        runtime=grows(30),
    params:
        code=code_digest("explain_classifier"),
        num_nodules=config["explain_predictions"]["num_nodules"],
        methods=config["explain_predictions"]["methods"],
        patch_vox=config["explain_predictions"]["patch_vox"],
        seed=config["explain_predictions"]["seed"],
    shell:
        "python scripts/explain_classifier.py"
        " --model {input.model}"
        " --scores {input.scores}"
        " --shards {input.shards}"
        " --num-nodules {params.num_nodules}"
        " --methods {params.methods}"
        " --patch-vox {params.patch_vox}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out-maps {output.maps}"
        " --out-sanity {output.sanity}"
        " > {log} 2>&1"
