# The public collection, through a small disk: planned, fetched, verified, gone after its cubes.


rule download_series:
    """One shard's series from their public place, whole or not at all."""
    input:
        plan=shard_plan,
        series=rules.list_series.output.series,
        # The peak of all shards is no reason to fetch one again.
        shards=ancient("<results>/plan_shards/shards.csv"),
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
        # A shard is 4 GB: 240 minutes are 0.3 MB/s.
        mem_mb=grows(1000),
        runtime=grows(240),
        endpoint=ENDPOINT,
        # Until its cubes are made a shard's images are on the disk. A file as the link from one
        # shard's cubes to the next shard's images would fetch that shard again whenever the cubes
        # are made again, and `ancient` would hide what is missing behind it.
        images=IMAGES,
        # Bounds the downloads at one time where no images are to go either.
        downloads=1,
        concurrent_shards=CONCURRENT_SHARDS,
        disk_budget_gb=DISK_BUDGET_GB,
    params:
        code=code_digest("download_series"),
        source=config["source"]["kind"],
        partial=whole_path("<results>/.partial"),
    shell:
        "python scripts/download_series.py"
        " --plan {input.plan}"
        " --series {input.series}"
        " --shards {input.shards}"
        " --concurrent-shards {resources.concurrent_shards}"
        " --disk-budget-gb {resources.disk_budget_gb}"
        " --source {params.source}"
        " --endpoint {resources.endpoint:q}"
        " --partial {params.partial}"
        " --out-folder {output.folder}"
        " --out-files {output.files}"
        " --out-manifest {output.manifest}"
        " 2>&1 | tee {log}"
