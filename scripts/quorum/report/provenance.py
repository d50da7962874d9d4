"""Where everything comes from: configuration, digests, versions, times, choices, licences."""

import csv
import json
import re
from pathlib import Path

import yaml

from quorum.command import installed_versions
from quorum.files import sha256_text
from quorum.report.tabular import Column, Section, Table
from quorum.settings import ROOT

ASSUME = re.compile(r"#\s*ASSUME:\s*(.*)")
CITATIONS = (
    (
        "Armato SG III, McLennan G, Bidaut L, et al. The Lung Image Database Consortium (LIDC) and "
        "Image Database Resource Initiative (IDRI): a completed reference database of lung nodules "
        "on CT scans. Medical Physics 2011;38(2):915–931.",
        "https://doi.org/10.1118/1.3528204",
    ),
    (
        "Armato SG III, McLennan G, Bidaut L, et al. Data From LIDC-IDRI (data set). "
        "The Cancer Imaging Archive, 2015.",
        "https://doi.org/10.7937/K9/TCIA.2015.LO9QL9SX",
    ),
    (
        "Clark K, Vendt B, Smith K, et al. The Cancer Imaging Archive (TCIA): maintaining and "
        "operating a public information repository. Journal of Digital Imaging "
        "2013;26(6):1045–1057.",
        "https://doi.org/10.1007/s10278-013-9622-7",
    ),
)


def assumptions(root: Path = ROOT) -> list:
    """Return every `# ASSUME:` of the code: file, line, and the whole sentence.

    A comment that goes on in the next lines is read to its end.
    """
    rows = []
    for path in sorted([*root.glob("scripts/**/*.py"), *root.glob("workflow/rules/*.smk")]):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, text in enumerate(lines, start=1):
            match = ASSUME.match(text.strip())
            if match:
                words = [match.group(1)]
                for following in lines[number:]:
                    following = following.strip()
                    if not following.startswith("#") or ASSUME.match(following):
                        break
                    words.append(following.lstrip("# "))
                file = str(path.relative_to(root))
                rows.append({"file": file, "line": number, "choice": " ".join(words).strip()})
    return rows


def benchmark_rows(folder: Path) -> list:
    """Return time and memory by rule, from Snakemake's benchmark files; empty where none are."""
    rules = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0]
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                job = float_of(row.get("s")), float_of(row.get("max_rss"))
                rules.setdefault(rule, []).append(job)
    rows = []
    for rule, jobs in rules.items():
        memory = [rss for _, rss in jobs if rss is not None]
        times = [seconds for seconds, _ in jobs if seconds is not None]
        rows.append({
            "rule": rule,
            "num_jobs": len(jobs),
            "total_s": sum(times),
            "longest_s": max(times, default=None),
            "max_rss_mb": max(memory, default=None),
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["total_s"])


def float_of(text) -> float | None:
    """Return a number, or None where Snakemake wrote NA or `-`."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def origin_rows(inputs) -> list:
    """Return what made each input table: script, digests of code and flags, number of files."""
    rows = []
    for flag, made_by in inputs.origins.items():
        for key in sorted({(m["script"], m["code_digest"]) for m in made_by}):
            mine = [m for m in made_by if (m["script"], m["code_digest"]) == key]
            rows.append({
                "table": flag,
                "script": key[0],
                "num_files": len(mine),
                "code_digest": key[1],
                "config_digest": " ".join(sorted({m["config_digest"] for m in mine})),
                "quorum": " ".join(sorted({m["versions"]["quorum"] for m in mine})),
            })  # fmt: skip
    return rows


def record_blocks(inputs) -> list:
    """Return every run's record as YAML, with a heading."""
    return [
        {
            "title": f"{record.get('experiment')}, fold {record.get('fold')}, "
            f"seed {record.get('seed')}",
            "text": yaml.safe_dump(record, sort_keys=False, allow_unicode=True),
        }
        for record in inputs.records
    ]


def provenance_section(inputs) -> Section:
    """Return the section on provenance."""
    versions = [
        {"package": name, "version": version or "not installed"}
        for name, version in installed_versions().items()
    ]
    config = json.dumps(inputs.settings, sort_keys=True)
    tables = {
        "assumptions": Table("assumptions", "Choices in the code", [
            Column("choice", "choice"), Column("file", "file"), Column("line", "line", 0),
        ], assumptions()),
        "times": Table("times", "Time and memory by rule", [
            Column("rule", "rule"),
            Column("num_jobs", "jobs", 0),
            Column("total_s", "all jobs, s", 1),
            Column("longest_s", "longest job, s", 1),
            Column("max_rss_mb", "largest memory, MB", 0),
        ], benchmark_rows(inputs.benchmarks)),
        "origins": Table("origins", "What made each table", [
            Column("table", "table"),
            Column("script", "script"),
            Column("num_files", "files", 0),
            Column("code_digest", "digest of its code"),
            Column("config_digest", "digest of its flags"),
            Column("quorum", "Quorum"),
        ], origin_rows(inputs)),
        "versions": Table("versions", "Versions", [
            Column("package", "package"), Column("version", "version"),
        ], versions),
    }  # fmt: skip
    values = {
        "config": yaml.safe_dump(inputs.settings, sort_keys=False, allow_unicode=True),
        "config_digest": sha256_text(config)[:16],
        "records": record_blocks(inputs),
        "citations": CITATIONS,
        "licenses": sorted(set(inputs.series["license"].dropna())),
    }
    files = {"config.yaml": values["config"]}
    return Section("provenance", "Configuration, digests, versions", values, tables, {}, files)
