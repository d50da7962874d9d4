# The images: a phantom scanner's, or the user's own; then what is found in them.


rule simulate_series:
    """Phantom DICOM series of one shard, built on the real readers' outlines."""
    input:
        plan=shard_plan,
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
        contours=rules.read_annotations.output.contours,
    output:
        files="<results>/simulate_series/{shard}.csv",
        folder=unless_kept(directory("<results>/simulate_series/{shard}")),
    log:
        "<logs>/simulate_series/{shard}.log",
    benchmark:
        "<benchmarks>/simulate_series/{shard}.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured: 415 MB, also with 465 slices; 1 s a series of 40 slices
        mem_mb=grows(1100),
        runtime=grows(20),
    params:
        code=code_digest("simulate_series"),
        noise_hu=config["simulate_series"]["noise_hu"],
        seed=config["simulate_series"]["seed"],
    shell:
        "python scripts/simulate_series.py"
        " --plan {input.plan}"
        " --series {input.series}"
        " --slices {input.slices}"
        " --contours {input.contours}"
        " --noise-hu {params.noise_hu}"
        " --seed {params.seed}"
        " --out-folder {output.folder}"
        " --out-files {output.files}"
        " > {log} 2>&1"


rule find_series:
    """An index of the user's own files: DICOM in any layout, or volumes that a CSV names."""
    input:
        series=rules.list_series.output.series,
        # An edited list is read again; one that is missing is told by the script, in a sentence.
        volumes=[
            path
            for path in [Path(SOURCE["root"] or "", config["source"]["volumes"] or "")]
            if path.is_file()
        ],
    output:
        files="<results>/find_series/files.csv",
        unused="<results>/find_series/unused.csv",
    log:
        "<logs>/find_series/find_series.log",
    benchmark:
        "<benchmarks>/find_series/find_series.tsv"
    conda:
        "../../envs/quorum.yaml"
    # 1,700 headers a second of one core: 244,000 files in 2.5 minutes, more from a slow disk, whose
    # waits the threads share. 236 MB with 1,064 files, a row takes under 1 kB.
    threads: 2
    resources:
        mem_mb=grows(1500),
        runtime=grows(60),
    params:
        code=code_digest("find_series"),
        root=SOURCE["root"],
        volumes=config["source"]["volumes"] or "",
    shell:
        "python scripts/find_series.py"
        " --series {input.series}"
        " --root {params.root:q}"
        " --volumes {params.volumes:q}"
        " --threads {threads}"
        " --out-files {output.files}"
        " --out-unused {output.unused}"
        " > {log} 2>&1"


rule check_series:
    """Geometry and completeness of one shard's series: accepted, repaired or excluded, and why."""
    input:
        plan=shard_plan,
        files=series_files,
        folder=series_folder,
        series=rules.list_series.output.series,
        slices=rules.list_series.output.slices,
    output:
        findings="<results>/check_series/{shard}.csv",
        slices="<results>/check_series/{shard}.parquet",
        headers="<results>/check_series/{shard}.headers.parquet",
    log:
        "<logs>/check_series/{shard}.log",
    benchmark:
        "<benchmarks>/check_series/{shard}.tsv"
    priority: 5
    conda:
        "../../envs/quorum.yaml"
    # 1,000 DICOM headers a second; 399 series of volumes in 9 s and 341 MB. A whole compressed
    # volume is read once: 0.4 GB for the largest series.
    threads: 1
    resources:
        images=IMAGES,
        mem_mb=grows(1500),
        runtime=grows(20),
    params:
        code=code_digest("check_series"),
        root=SOURCE["root"] or "",
        max_spacing_deviation=config["check_series"]["max_spacing_deviation"],
        max_tilt_deg=config["check_series"]["max_tilt_deg"],
    shell:
        "python scripts/check_series.py"
        " --plan {input.plan}"
        " --files {input.files}"
        " --series {input.series}"
        " --slices {input.slices}"
        " --root {params.root:q}"
        " --max-spacing-deviation {params.max_spacing_deviation}"
        " --max-tilt-deg {params.max_tilt_deg}"
        " --out-findings {output.findings}"
        " --out-slices {output.slices}"
        " --out-headers {output.headers}"
        " > {log} 2>&1"


rule summarize_series:
    """One table of all series: what was found in each, and what was done."""
    input:
        findings=all_shards("<results>/check_series/{shard}.csv"),
    output:
        series="<results>/summarize_series/series.csv",
    log:
        "<logs>/summarize_series/summarize_series.log",
    benchmark:
        "<benchmarks>/summarize_series/summarize_series.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: half a second, the imports.
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("summarize_series"),
    shell:
        "python scripts/summarize_series.py"
        " --findings {input.findings}"
        " --out-series {output.series}"
        " > {log} 2>&1"
