# From series to cubes of 1 mm voxels in HDF5 shards, and whether they are sound.


rule extract_cubes:
    """One shard of cubes: image, every reader's mask, STAPLE, coverage and geometry."""
    input:
        plan=shard_plan,
        findings=rules.check_series.output.findings,
        slices=rules.check_series.output.slices,
        folder=series_folder,
        contours=rules.read_annotations.output.contours,
    output:
        shard="<results>/extract_cubes/{shard}.h5",
        dropped="<results>/extract_cubes/{shard}.dropped.csv",
    log:
        "<logs>/extract_cubes/{shard}.log",
    benchmark:
        "<benchmarks>/extract_cubes/{shard}.tsv"
    priority: 10
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        images=IMAGES,
        # Measured: 300 MB for a whole real series, 400 MB for 706 real cut-outs in one shard.
        mem_mb=grows(1000),
        # Measured: 0.1 s of CPU a nodule of a whole series, 35 ms of a cut-out; half of it is gzip.
        runtime=grows(30),
    params:
        code=code_digest("extract_cubes"),
        root=SOURCE["root"] or "",
        spacing_mm=config["extract_cubes"]["spacing_mm"],
        shape_vox=config["extract_cubes"]["shape_vox"],
        staple_padding_vox=config["extract_cubes"]["staple_padding_vox"],
    shell:
        "python scripts/extract_cubes.py"
        " --plan {input.plan}"
        " --findings {input.findings}"
        " --slices {input.slices}"
        " --contours {input.contours}"
        " --root {params.root:q}"
        " --spacing-mm {params.spacing_mm}"
        " --shape-vox {params.shape_vox}"
        " --staple-padding-vox {params.staple_padding_vox}"
        " --threads {threads}"
        " --out-shard {output.shard}"
        " --out-dropped {output.dropped}"
        " > {log} 2>&1"


rule check_cubes:
    """What the data checks find in the shards, one row a check and shard."""
    input:
        nodules=rules.select_nodules.output.nodules,
        attrition=rules.select_nodules.output.attrition,
        splits=rules.split_patients.output.splits,
        findings=all_shards("<results>/check_series/{shard}.csv"),
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
        dropped=all_shards("<results>/extract_cubes/{shard}.dropped.csv"),
    output:
        checks=report(
            "<results>/check_cubes/checks.csv",
            caption=caption("checks"),
            category="Data",
        ),
        volumes="<results>/check_cubes/volumes.csv",
    log:
        "<logs>/check_cubes/check_cubes.log",
    benchmark:
        "<benchmarks>/check_cubes/check_cubes.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 420 MB and 9 s for 706 real cubes (256 of them are held at once).
        mem_mb=grows(1200),
        runtime=grows(20),
    params:
        code=code_digest("check_cubes"),
        spacing_mm=config["extract_cubes"]["spacing_mm"],
        shape_vox=config["extract_cubes"]["shape_vox"],
    shell:
        "python scripts/check_cubes.py"
        " --nodules {input.nodules}"
        " --attrition {input.attrition}"
        " --splits {input.splits}"
        " --findings {input.findings}"
        " --shards {input.shards}"
        " --dropped {input.dropped}"
        " --spacing-mm {params.spacing_mm}"
        " --shape-vox {params.shape_vox}"
        " --out-checks {output.checks}"
        " --out-volumes {output.volumes}"
        " > {log} 2>&1"


rule accept_cubes:
    """Stop here when a data check failed; the findings stay."""
    input:
        checks=rules.check_cubes.output.checks,
    output:
        accepted="<results>/accept_cubes/accepted.csv",
    log:
        "<logs>/accept_cubes/accept_cubes.log",
    benchmark:
        "<benchmarks>/accept_cubes/accept_cubes.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 120 MB, the imports.
        mem_mb=500,
        runtime=5,
    params:
        code=code_digest("accept_cubes"),
    shell:
        "python scripts/accept_cubes.py"
        " --checks {input.checks}"
        " --out-accepted {output.accepted}"
        " > {log} 2>&1"
