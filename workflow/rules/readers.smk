# Readers, not annotations: the original XML, who marked what, and how far readers agree.


rule read_xml:
    """Sessions, outlines and points of the original XML files, and all that isn't used."""
    input:
        xml=MARKS["xml"] or [],
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
    output:
        annotations="<results>/read_xml/annotations.csv",
        contours="<results>/read_xml/contours.parquet",
        points="<results>/read_xml/points.csv",
        sessions="<results>/read_xml/sessions.csv",
        files="<results>/read_xml/files.csv",
        remarks="<results>/read_xml/remarks.csv",
    log:
        "<logs>/read_xml/read_xml.log",
    benchmark:
        "<benchmarks>/read_xml/read_xml.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 900 MB, 16 s
        mem_mb=2000,
        runtime=10,
    params:
        code=code_digest("read_xml"),
    shell:
        "python scripts/read_xml.py"
        " --xml {input.xml}"
        " --series {input.series}"
        " --slices {input.slices}"
        " --out-annotations {output.annotations}"
        " --out-contours {output.contours}"
        " --out-points {output.points}"
        " --out-sessions {output.sessions}"
        " --out-files {output.files}"
        " --out-remarks {output.remarks}"
        " > {log} 2>&1"
