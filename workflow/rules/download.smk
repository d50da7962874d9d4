# The public collection, through a small disk: planned, fetched, verified, gone after its cubes.


rule check_disk:
    """Whether a shard's download fits on the disk now; the first one says what all of it takes."""
    input:
        shards=ancient(rules.plan_shards.output.summary),
        # A resource is freed when its job ends, not when its images are gone; this bounds them.
        before=ancient(shard_before),
    output:
        disk="<results>/check_disk/{shard}.csv",
    log:
        "<logs>/check_disk/{shard}.log",
    benchmark:
        "<benchmarks>/check_disk/{shard}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("check_disk"),
        concurrent_shards=config["source"]["concurrent_shards"],
        budget_gb=config["source"]["disk_budget_gb"] or "",
        keep_dicom=config["source"]["keep_dicom"],
    shell:
        "python scripts/check_disk.py"
        " --shards {input.shards}"
        " --shard {wildcards.shard}"
        " --concurrent-shards {params.concurrent_shards}"
        " --budget-gb {params.budget_gb:q}"
        " --keep-dicom {params.keep_dicom}"
        " --out-disk {output.disk}"
        " 2>&1 | tee {log}"


rule download_series:
    """One shard's series from their public place, whole or not at all."""
    input:
        plan=shard_plan,
        series=rules.list_series.output.series,
        disk=ancient(rules.check_disk.output.disk),
    output:
        files="<results>/download_series/{shard}.csv",
        manifest="<results>/download_series/{shard}.manifest.csv",
        folder=unless_kept(directory("<results>/download_series/{shard}")),
    log:
        "<logs>/download_series/{shard}.log",
    benchmark:
        "<benchmarks>/download_series/{shard}.tsv"
    retries: 2
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        mem_mb=grows(1000),
        runtime=grows(240),
        endpoint=ENDPOINT,
    params:
        code=code_digest("download_series"),
        source=config["source"]["kind"],
        partial=whole_path("<results>/.partial"),
    shell:
        "python scripts/download_series.py"
        " --plan {input.plan}"
        " --series {input.series}"
        " --disk {input.disk}"
        " --source {params.source}"
        " --endpoint {resources.endpoint:q}"
        " --partial {params.partial}"
        " --out-folder {output.folder}"
        " --out-files {output.files}"
        " --out-manifest {output.manifest}"
        " 2>&1 | tee {log}"
