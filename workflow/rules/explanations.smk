# Where networks look.


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
