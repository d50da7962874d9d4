"""references.bib of a run: data, tools with versions, and each method that this run used."""

import re

from quorum.card_files import TEMPLATES
from quorum.errors import InputError
from quorum.networks import network_module, network_names

# What every run rests on: data, readers, measures, tests, cards and tools.
ALWAYS = (
    *("armato2011", "lidc_idri", "clark2013", "fedorov2023", "hancock2016", "warfield2004"),
    *("nikolov2021", "maierhein2024", "kohl2018", "szekely2013", "bland1986"),
    *("efron1993", "good2005", "holm1979"),
    *("mitchell2019", "gebru2021", "tejani2024", "collins2024", "walsh2021"),
    *("quorum", "python", "numpy", "scipy", "pandas", "h5py", "pyarrow", "simpleitk", "pydicom"),
    *("torch", "monai", "lightning", "statsmodels", "pingouin", "krippendorff", "matplotlib"),
    *("snakemake", "niivue", "highdicom"),
)
# None: no paper, or the tool's own.
LOSSES = {
    "dice": "milletari2016", "tversky": "salehi2017", "focal": "lin2017",
    "boundary": "kervadec2019", "residual_moment": "wang2021", "cross_entropy": None,
}  # fmt: skip
OPTIMIZERS = {"adamw": "loshchilov2019", "sgd": None}
EXPLANATIONS = {"grad_cam": "selvaraju2017", "cam": "zhou2016", "occlusion": "zeiler2014"}
STEPS = {"crf": "kraehenbuehl2011"}


def read_entries() -> dict:
    """Return every entry of the template by its key."""
    text = (TEMPLATES / "references.bib").read_text(encoding="utf-8")
    return {re.match(r"@\w+\{(\w+)", line)[1]: line for line in text.splitlines()}


def keys_of(known: dict, names) -> list:
    """Return the keys of names, without those that have no paper.

    Raises
    ------
    InputError
        When a name isn't known.
    """
    for name in names:
        if name not in known:
            raise InputError(
                f"{name} was used, and scripts/quorum/references.py has no reference for it",
                f"one of {', '.join(known)}",
                "add its entry to workflow/handover/references.bib, and its key there",
            )
    return [known[name] for name in names if known[name]]


def training_keys(experiment: dict) -> list:
    """Return the keys of losses, optimizer and post-processing of one network's training."""
    keys = keys_of(LOSSES, experiment["loss_names"])
    keys += keys_of(OPTIMIZERS, [experiment["optimizer"]])
    return keys + [STEPS[step] for step in experiment["steps"] if step in STEPS]


def used_keys(facts: dict) -> list:
    """Return the keys of what a run used, once each, what every run rests on first."""
    keys = [*ALWAYS]
    for experiment in facts["experiments"]:
        keys += training_keys(experiment) if experiment["is_network"] else []
    keys += keys_of(EXPLANATIONS, facts["explained_by"])
    conditions = {
        "adebayo2018": facts["explained_by"],
        "lakshminarayanan2017": facts["is_test_open"],
        "isensee2021": facts["has_nnunet"],
        "s5cmd": facts["source"] == "idc",
    }
    keys += [key for key, is_used in conditions.items() if is_used]
    return list(dict.fromkeys(keys))


def references(facts: dict) -> str:
    """Return the text of references.bib: what the run used, and the networks that it trained."""
    entries = read_entries()
    versions = {name.lower(): version for name, version in facts["versions"].items()}
    lines = [f"% Everything used in this run of Quorum ({facts['kind_words']})."]
    for key in used_keys(facts):
        note = f", note = {{Version {versions[key]}}}}}" if versions.get(key) else "}"
        lines.append(entries[key].removesuffix("}") + note)
    known = set(network_names())
    for name in sorted({e["network"] for e in facts["experiments"] if e["network"] in known}):
        source = network_module(name).SOURCE
        lines.append(f"@misc{{network_{name}, title = {{Network {name}}}, note = {{{source}}}}}")
    return "\n\n".join(lines) + "\n"
