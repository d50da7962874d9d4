# Experiments: planned, trained, applied, scored; one run is an experiment x fold x seed.


rule plan_experiment:
    """One experiment's settings, whole: the block train_model with the experiment's diff."""
    output:
        plan="<results>/plan_experiment/{experiment}.yaml",
    log:
        "<logs>/plan_experiment/{experiment}.log",
    benchmark:
        "<benchmarks>/plan_experiment/{experiment}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 111 MB, 1 s.
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("plan_experiment"),
        settings=settings_json,
        diff=diff_json,
        consensus=config["consensus"],
    shell:
        "python scripts/plan_experiment.py"
        " --experiment {wildcards.experiment}"
        " --settings {params.settings:q}"
        " --diff {params.diff:q}"
        " --consensus {params.consensus}"
        " --out-plan {output.plan}"
        " > {log} 2>&1"


rule train_model:
    """Weights of one run, its history and a record of what made it."""
    input:
        plan=rules.plan_experiment.output.plan,
        splits=rules.split_patients.output.splits,
        accepted=rules.accept_cubes.output.accepted,
        slices=position_slices,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        model="<results>/train_model/{experiment}/fold{fold}_seed{seed}/model.pt",
        history="<results>/train_model/{experiment}/fold{fold}_seed{seed}/history.csv",
        record="<results>/train_model/{experiment}/fold{fold}_seed{seed}/record.json",
        tensorboard=directory(
            "<results>/train_model/{experiment}/fold{fold}_seed{seed}/tensorboard"
        ),
    log:
        "<logs>/train_model/{experiment}/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/train_model/{experiment}/fold{fold}_seed{seed}.tsv"
    retries: 2
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        # Measured: 1.8 GB and 16 minutes for 4,000 steps on 476 real nodules, 2 cores.
        mem_mb=grows(3500),
        runtime=grows(240),
        gpu=0,
    params:
        code=run_code("train_model"),
        num_folds=config["split_patients"]["num_folds"],
        checkpoints=whole_path("<results>/.checkpoints/{experiment}/fold{fold}_seed{seed}"),
        launcher=launcher,
        devices=num_devices,
        nodes=num_nodes,
    # Python alone takes SIGTERM: it writes a checkpoint, and tee stays to the end.
    shell:
        "trap '' TERM; {params.launcher} "
        "python scripts/train_model.py"
        " --plan {input.plan}"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --slices {input.slices}"
        " --fold {wildcards.fold}"
        " --num-folds {params.num_folds}"
        " --seed {wildcards.seed}"
        " --threads {threads}"
        " --memory-mb {resources.mem_mb}"
        " --devices {params.devices}"
        " --nodes {params.nodes}"
        " --checkpoints {params.checkpoints}"
        " --out-model {output.model}"
        " --out-history {output.history}"
        " --out-record {output.record}"
        " --out-tensorboard {output.tensorboard}"
        " 2>&1 | tee {log}"


rule predict_cubes:
    """The model's probability for each nodule of its scored fold, from a user's click."""
    input:
        plan=rules.plan_experiment.output.plan,
        model=rules.train_model.output.model,
        splits=rules.split_patients.output.splits,
        slices=position_slices,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        predictions="<results>/predict_cubes/{experiment}/fold{fold}_seed{seed}.h5",
        gains="<results>/predict_cubes/{experiment}/fold{fold}_seed{seed}.gains.csv",
    log:
        "<logs>/predict_cubes/{experiment}/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/predict_cubes/{experiment}/fold{fold}_seed{seed}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        # Measured: 710 MB; 50 s for 113 real nodules on 2 cores, a network with 4 flips.
        mem_mb=grows(3000),
        runtime=grows(60),
        gpu=0,
    params:
        code=run_code("predict_cubes"),
        click_offsets_mm=config["predict_cubes"]["click_offsets_mm"],
        flips=config["predict_cubes"]["flips"],
        seed=config["predict_cubes"]["seed"],
    shell:
        "python scripts/predict_cubes.py"
        " --plan {input.plan}"
        " --model {input.model}"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --slices {input.slices}"
        " --part fold{wildcards.fold}"
        " --click-offsets-mm {params.click_offsets_mm}"
        " --flips {params.flips}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out-predictions {output.predictions}"
        " --out-gains {output.gains}"
        " > {log} 2>&1"


rule predict_ensemble:
    """The mean of an experiment's runs on the locked test part, once the analysis plan is frozen."""
    input:
        plan=rules.plan_experiment.output.plan,
        models=member_models,
        splits=rules.split_patients.output.splits,
        slices=position_slices,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
        frozen_plan="<results>/freeze_plan/plan.json",
    output:
        predictions="<results>/predict_cubes/{experiment}/ensemble.h5",
    log:
        "<logs>/predict_ensemble/{experiment}.log",
    benchmark:
        "<benchmarks>/predict_ensemble/{experiment}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        # As predict_cubes, for each of its runs.
        mem_mb=grows(3000),
        runtime=grows(120),
        gpu=0,
    params:
        code=run_code("predict_ensemble"),
        click_offsets_mm=config["predict_cubes"]["click_offsets_mm"],
        flips=config["predict_cubes"]["flips"],
        seed=config["predict_cubes"]["seed"],
    shell:
        "python scripts/predict_ensemble.py"
        " --plan {input.plan}"
        " --models {input.models}"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --slices {input.slices}"
        " --frozen-plan {input.frozen_plan}"
        " --click-offsets-mm {params.click_offsets_mm}"
        " --flips {params.flips}"
        " --seed {params.seed}"
        " --threads {threads}"
        " --out-predictions {output.predictions}"
        " > {log} 2>&1"


rule list_runs:
    """All runs side by side: what each was, what it ran on, how it ended; mean and spread."""
    input:
        records=all_runs("<results>/train_model/{experiment}/fold{fold}_seed{seed}/record.json"),
    output:
        runs="<results>/list_runs/runs.csv",
        spread="<results>/list_runs/spread.csv",
    log:
        "<logs>/list_runs/list_runs.log",
    benchmark:
        "<benchmarks>/list_runs/list_runs.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured on the tiny run: 118 MB, 1 s.
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("list_runs"),
    shell:
        "python scripts/list_runs.py"
        " --records {input.records}"
        " --out-runs {output.runs}"
        " --out-spread {output.spread}"
        " > {log} 2>&1"
