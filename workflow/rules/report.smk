# What a person opens.
from quorum.card_files import FILES
from quorum.report.look import OTHER_PAGES, look_digest
from quorum.report.niivue import installed_bundle


report: caption("workflow")


rule write_report:
    """Pages with their assets in the same folder: cohort, nodules, models, readers, papers."""
    input:
        series=rules.list_series.output.series,
        nodules=rules.select_nodules.output.nodules,
        attrition=rules.select_nodules.output.attrition,
        agreement=rules.compare_readers.output.agreement,
        shard_plan=rules.plan_shards.output.summary,
        splits=rules.split_patients.output.splits,
        findings=all_shards("<results>/check_series/{shard}.csv"),
        shards=all_shards("<results>/extract_cubes/{shard}.h5"),
        dropped=all_shards("<results>/extract_cubes/{shard}.dropped.csv"),
        checks=rules.check_cubes.output.checks,
        volumes=rules.check_cubes.output.volumes,
        histories=all_runs("<results>/train_model/{experiment}/fold{fold}_seed{seed}/history.csv"),
        records=[
            *all_runs("<results>/train_model/{experiment}/fold{fold}_seed{seed}/record.json"),
            *nnunet_runs("<results>/train_nnunet/{experiment}/fold{fold}_seed{seed}.json"),
        ],
        predictions=[
            *all_runs("<results>/predict_cubes/{experiment}/fold{fold}_seed{seed}.h5"),
            *nnunet_runs("<results>/train_nnunet/{experiment}/fold{fold}_seed{seed}.h5"),
        ],
        scores=scored_runs("<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.csv"),
        summary=rules.compare_experiments.output.summary,
        offsets=rules.compare_experiments.output.offsets,
        tables=reader_tables(),
        evaluation=[
            rules.compare_experiments.output.pairs,
            rules.compare_experiments.output.spread,
            rules.compare_experiments.output.ranks,
            rules.compare_experiments.output.bland_altman,
            rules.compare_experiments.output.calibration,
            rules.compare_with_readers.output.fifth_reader,
            rules.compare_with_readers.output.by_group,
            rules.compare_with_readers.output.nodules,
            rules.compare_with_readers.output.looks,
            "<results>/list_runs/runs.csv",
            "<results>/describe_splits/table1.csv",
            "<results>/describe_splits/performance.csv",
        ],
        nodule_scores=scored_runs(
            "<results>/score_predictions/{experiment}/fold{fold}_seed{seed}.nodules.csv"
        ),
        papers=papers_table,
        made=tables_made(),
        explanations=explanations("h5"),
        sanity=explanations("sanity.csv"),
        classifiers=classifier_tables(),
        handed=[
            *expand("<results>/write_cards/{file}", file=FILES),
            "<results>/write_summary/summary.pdf",
        ],
        datasets=local("config/datasets.yaml"),
        published=local(published_files()),
    output:
        page="<results>/write_report/index.html",
        others=expand("<results>/write_report/{page}.html", page=OTHER_PAGES),
        assets=report(
            directory("<results>/write_report/assets"),
            patterns=["figures/{figure}.svg"],
            caption=caption("figures"),
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        "<logs>/write_report/write_report.log",
    benchmark:
        "<benchmarks>/write_report/write_report.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # Measured: 230 MB and 18 s for 706 real nodules and six experiments.
        mem_mb=grows(2000),
        runtime=grows(20),
    params:
        code=code_digest("write_report"),
        look=look_digest(),
        viewer=installed_bundle(),
        max_viewer_nodules=config["write_report"]["max_viewer_nodules"],
        settings=json.dumps(
            {block: config[block] for block in config if block != "pathvars"},
            sort_keys=True,
        ),
        benchmarks=whole_path("<benchmarks>"),
    shell:
        "python scripts/write_report.py"
        " --series {input.series}"
        " --nodules {input.nodules}"
        " --attrition {input.attrition}"
        " --agreement {input.agreement}"
        " --shard-plan {input.shard_plan}"
        " --splits {input.splits}"
        " --findings {input.findings}"
        " --shards {input.shards}"
        " --dropped {input.dropped}"
        " --checks {input.checks}"
        " --volumes {input.volumes}"
        " --histories {input.histories}"
        " --records {input.records}"
        " --predictions {input.predictions}"
        " --scores {input.scores}"
        " --summary {input.summary}"
        " --offsets {input.offsets}"
        " --tables {input.tables} {input.evaluation} {input.nodule_scores} {input.papers} {input.made} {input.sanity} {input.classifiers}"
        " --explanations {input.explanations}"
        " --viewer {params.viewer}"
        " --max-viewer-nodules {params.max_viewer_nodules}"
        " --published {input.published}"
        " --handed {input.handed}"
        " --datasets {input.datasets}"
        " --benchmarks {params.benchmarks}"
        " --settings {params.settings:q}"
        " --out-page {output.page}"
        " --out-assets {output.assets}"
        " > {log} 2>&1"
