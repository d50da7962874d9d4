# Other public collections of config/datasets.yaml: listed and downloaded, each by one entry.


rule list_dataset:
    """The series of a registered collection, with size, licence and place in the public bucket."""
    input:
        datasets=local("config/datasets.yaml"),
    output:
        series="<results>/list_dataset/{dataset}.csv",
    log:
        "<logs>/list_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/list_dataset/{dataset}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # As list_series: 600 MB, 3 s.
        mem_mb=1000,
        runtime=5,
    params:
        code=code_digest("list_dataset"),
        index=config["source"]["index"] or "",
    shell:
        "python scripts/list_dataset.py"
        " --datasets {input.datasets}"
        " --dataset {wildcards.dataset}"
        " --index {params.index:q}"
        " --out-series {output.series}"
        " > {log} 2>&1"


rule download_dataset:
    """One part of a registered collection, whole or not at all."""
    input:
        datasets=ancient(local("config/datasets.yaml")),
        series=rules.list_dataset.output.series,
    output:
        files="<results>/download_dataset/{dataset}/{shard}.csv",
        manifest="<results>/download_dataset/{dataset}/{shard}.manifest.csv",
        folder=directory("<results>/download_dataset/{dataset}/{shard}"),
    log:
        "<logs>/download_dataset/{dataset}/{shard}.log",
    benchmark:
        "<benchmarks>/download_dataset/{dataset}/{shard}.tsv"
    retries: 2
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # As download_series.
        mem_mb=grows(1000),
        runtime=grows(240),
        endpoint=ENDPOINT,
        downloads=1,
    params:
        code=code_digest("download_dataset"),
        partial=whole_path("<results>/.partial"),
    shell:
        "python scripts/download_dataset.py"
        " --datasets {input.datasets}"
        " --dataset {wildcards.dataset}"
        " --series {input.series}"
        " --shard {wildcards.shard}"
        " --source idc"
        " --endpoint {resources.endpoint:q}"
        " --partial {params.partial}/{wildcards.dataset}"
        " --out-folder {output.folder}"
        " --out-files {output.files}"
        " --out-manifest {output.manifest}"
        " 2>&1 | tee {log}"
