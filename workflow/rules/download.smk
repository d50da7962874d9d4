# The public collection, through a small disk: planned, fetched, verified, gone after its cubes.


rule check_disk:
    """What the download takes on the disk; stops a run that can't fit before the first byte."""
    input:
        shards=rules.plan_shards.output.summary,
    output:
        disk="<results>/check_disk/disk.csv",
    log:
        "<logs>/check_disk/check_disk.log",
    benchmark:
        "<benchmarks>/check_disk/check_disk.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("check_disk"),
        concurrent_shards=config["source"]["concurrent_shards"],
        budget=disk_budget_flag,
        keep=keep_dicom_flag,
    shell:
        "python scripts/check_disk.py"
        " --shards {input.shards}"
        " --concurrent-shards {params.concurrent_shards}"
        " {params.budget}"
        " {params.keep}"
        " --out-disk {output.disk}"
        " 2>&1 | tee {log}"


rule download_series:
    """One shard's series from their public place, whole or not at all."""
    input:
        plan=shard_plan,
        series=rules.list_series.output.series,
        disk=ancient(rules.check_disk.output.disk),
        before=shard_before,
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
        mem_mb=1000,
        runtime=240,
    params:
        code=code_digest("download_series"),
        source=config["source"]["kind"],
        endpoint=config["source"]["endpoint"] or "",
        partial=whole_path("<results>/.partial"),
    shell:
        "python scripts/download_series.py"
        " --plan {input.plan}"
        " --series {input.series}"
        " --source {params.source}"
        " --endpoint {params.endpoint:q}"
        " --partial {params.partial}"
        " --out-folder {output.folder}"
        " --out-files {output.files}"
        " --out-manifest {output.manifest}"
        " 2>&1 | tee {log}"
