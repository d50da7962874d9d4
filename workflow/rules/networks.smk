# The catalogue of networks: what each costs, what was searched, and nnU-Net beside them.


rule compare_networks:
    """Every network of the catalogue with its source, parameters and multiply-adds."""
    input:
        experiments=catalogue(),
    output:
        networks="<results>/compare_networks/networks.csv",
    log:
        "<logs>/compare_networks/compare_networks.log",
    benchmark:
        "<benchmarks>/compare_networks/compare_networks.tsv"
    conda:
        "../../envs/quorum.yaml"
    threads: 1
    resources:
        # measured on 24 networks: 900 MB, 11 s of CPU
        mem_mb=grows(2000),
        runtime=grows(10),
    params:
        code=code_digest("compare_networks"),
        networks=networks_code(),
        settings=json.dumps(config["train_model"], sort_keys=True),
    shell:
        "python scripts/compare_networks.py"
        " --settings {params.settings:q}"
        " --experiments {input.experiments}"
        " --out-networks {output.networks}"
        " > {log} 2>&1"
