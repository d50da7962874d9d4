# The catalogue of networks: what each costs, what was searched, and nnU-Net beside them.


rule compare_networks:
    """Every network of the catalogue with its source, parameters and multiply-adds."""
    input:
        experiments=catalogue(),
    output:
        networks="<results>/compare_networks/networks.csv",
    log:
        "<logs>/compare_networks/compare_networks.log",
    benchmark:
        "<benchmarks>/compare_networks/compare_networks.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured on 24 networks: 900 MB, 11 s of CPU
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        code=code_digest("compare_networks"),
        networks=networks_code(),
        settings=json.dumps(config["train_model"], sort_keys=True),
    shell:
        "python scripts/compare_networks.py"
        " --settings {params.settings:q}"
        " --experiments {input.experiments}"
        " --out-networks {output.networks}"
        " > {log} 2>&1"


rule search_skips:
    """BiX-Net's skips, searched on the training folds: an experiment to retrain from."""
    input:
        plan="<results>/plan_experiment/bixnas.yaml",
        splits=rules.split_patients.output.splits,
        accepted=rules.accept_cubes.output.accepted,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
    output:
        architecture="<results>/search_skips/fold{fold}_seed{seed}.yaml",
        tried="<results>/search_skips/fold{fold}_seed{seed}.csv",
    log:
        "<logs>/search_skips/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/search_skips/fold{fold}_seed{seed}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        mem_mb=grows(3000),
        runtime=grows(240),
    params:
        code=code_digest("search_skips"),
        num_folds=config["split_patients"]["num_folds"],
        steps=config["search_skips"]["num_steps"],
        population=config["search_skips"]["population"],
        generations=config["search_skips"]["generations"],
        num_scored=config["search_skips"]["num_scored_nodules"],
    shell:
        "python scripts/search_skips.py"
        " --plan {input.plan}"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --fold {wildcards.fold}"
        " --num-folds {params.num_folds}"
        " --seed {wildcards.seed}"
        " --steps {params.steps}"
        " --population {params.population}"
        " --generations {params.generations}"
        " --num-scored {params.num_scored}"
        " --threads {threads}"
        " --out-architecture {output.architecture}"
        " --out-tried {output.tried}"
        " > {log} 2>&1"


rule train_nnunet:
    """The field's baseline on the same nodules and folds; its small budget is called one."""
    input:
        splits=rules.split_patients.output.splits,
        accepted=rules.accept_cubes.output.accepted,
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
        nodules=where_native(rules.select_nodules.output.nodules),
        slices=where_native(all_shards("<results>/check_series/{shard}.parquet")),
        contours=where_native(rules.read_annotations.output.contours),
        folders=where_native(image_folders()),
    output:
        predictions="<results>/train_nnunet/{nnunet}/fold{fold}_seed{seed}.h5",
        record="<results>/train_nnunet/{nnunet}/fold{fold}_seed{seed}.json",
    log:
        "<logs>/train_nnunet/{nnunet}/fold{fold}_seed{seed}.log",
    benchmark:
        "<benchmarks>/train_nnunet/{nnunet}/fold{fold}_seed{seed}.tsv"
    wildcard_constraints:
        nnunet="|".join(NNUNETS.values()),
    conda:
        "../../envs/quorum.yaml"
    threads: 2
    resources:
        mem_mb=grows(8000),
        runtime=grows(1440),
        gpu=0,
    params:
        code=code_digest("train_nnunet"),
        job=code_digest("quorum/nnunet_job"),
        inputs=nnunet_inputs,
        root=SOURCE["root"] or "",
        num_folds=config["split_patients"]["num_folds"],
        consensus=config["consensus"],
        crop_vox=config["train_model"]["crop_vox"],
        click_offsets_mm=config["predict_cubes"]["click_offsets_mm"],
        flips=config["predict_cubes"]["flips"],
        seed=config["predict_cubes"]["seed"],
        epochs=nnunet_epochs,
        iterations=config["train_nnunet"]["iterations_per_epoch"],
        batch_size=config["train_nnunet"]["batch_size"],
        folder=whole_path("<results>/.checkpoints/{nnunet}/fold{fold}_seed{seed}"),
    shell:
        "python scripts/train_nnunet.py"
        " --splits {input.splits}"
        " --shards {input.shards}"
        " --inputs {params.inputs}"
        " --nodules {input.nodules}"
        " --slices {input.slices}"
        " --contours {input.contours}"
        " --root {params.root:q}"
        " --consensus {params.consensus}"
        " --fold {wildcards.fold}"
        " --num-folds {params.num_folds}"
        " --crop-vox {params.crop_vox}"
        " --click-offsets-mm {params.click_offsets_mm}"
        " --flips {params.flips}"
        " --seed {params.seed}"
        " --epochs {params.epochs}"
        " --iterations-per-epoch {params.iterations}"
        " --batch-size {params.batch_size}"
        " --python .venv-nnunet/bin/python"
        " --threads {threads}"
        " --folder {params.folder}"
        " --out-predictions {output.predictions}"
        " --out-record {output.record}"
        " > {log} 2>&1"
