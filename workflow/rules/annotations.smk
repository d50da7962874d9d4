# The readers' marks, before any image: series, annotations, nodules.


rule list_series:
    """The CT series that readers marked, with their size, licence and place in the public bucket."""
    output:
        series="<results>/list_series/series.csv",
        slices="<results>/list_series/slices.parquet",
    log:
        "<logs>/list_series/list_series.log",
    benchmark:
        "<benchmarks>/list_series/list_series.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 600 MB, 3 s
        mem_mb=1000,
        runtime=5,
    params:
        code=code_digest("list_series"),
        index=config["source"]["index"] or "",
    shell:
        "python scripts/list_series.py"
        " --index {params.index:q}"
        " --out-series {output.series}"
        " --out-slices {output.slices}"
        " > {log} 2>&1"


rule read_annotations:
    """Every reader's outlines and ratings, in pixels of the series."""
    input:
        series=rules.list_series.output.series,
        xml_annotations=xml_table("annotations.csv"),
        xml_contours=xml_table("contours.parquet"),
    output:
        annotations="<results>/read_annotations/annotations.csv",
        contours="<results>/read_annotations/contours.parquet",
    log:
        "<logs>/read_annotations/read_annotations.log",
    benchmark:
        "<benchmarks>/read_annotations/read_annotations.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 270 MB, 6 s
        mem_mb=1000,
        runtime=5,
    params:
        code=code_digest("read_annotations"),
        source=config["read_annotations"]["source"],
    shell:
        "python scripts/read_annotations.py"
        " --series {input.series}"
        " --source {params.source}"
        " --xml-annotations {input.xml_annotations}"
        " --xml-contours {input.xml_contours}"
        " --out-annotations {output.annotations}"
        " --out-contours {output.contours}"
        " > {log} 2>&1"


rule group_annotations:
    """Annotations of one series that outline the same nodule."""
    input:
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
        annotations=rules.read_annotations.output.annotations,
        contours=rules.read_annotations.output.contours,
        sessions=xml_table("sessions.csv"),
        points=xml_table("points.csv"),
        overrides=local("config/overrides.csv"),
    output:
        nodules="<results>/group_annotations/nodules.csv",
        decisions="<results>/group_annotations/decisions.csv",
    log:
        "<logs>/group_annotations/group_annotations.log",
    benchmark:
        "<benchmarks>/group_annotations/group_annotations.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 350 MB, 4 s
        mem_mb=1000,
        runtime=5,
    params:
        code=code_digest("group_annotations"),
        method=config["group_annotations"]["method"],
    shell:
        "python scripts/group_annotations.py"
        " --series {input.series}"
        " --slices {input.slices}"
        " --annotations {input.annotations}"
        " --contours {input.contours}"
        " --method {params.method}"
        " --sessions {input.sessions}"
        " --points {input.points}"
        " --overrides {input.overrides}"
        " --out-nodules {output.nodules}"
        " --out-decisions {output.decisions}"
        " > {log} 2>&1"
