"""Select the cohort of nodules, and count what each criterion drops.

Reads
    --nodules   nodules.csv of group_annotations (schema: nodules).
    --series    series.csv (schema: series).
    --slices    slices.parquet (schema: slices).
    --files     files.csv of find_series, for a local source only (schema: files).
    --criteria  the config block select_nodules, as JSON.
Writes
    --out-nodules    nodules.csv, the selected ones (schema: nodules).
    --out-attrition  attrition.csv, one row a criterion in the order of use (schema: attrition).
Method
    Groups of more than four annotations are set apart first, with their reason. Then the number
    of annotations, mean diameter, slice thickness, list of patients, files at hand (of a cut-out
    volume, the ones whose centre it contains), and last a seeded draw of patients in which a
    larger number contains the smaller.
Source
    Armato et al. 2011, doi 10.1118/1.3528204: four readers a scan.
"""

import json

import pandas as pd

from quorum.cohort import (
    among_files,
    apply_steps,
    chosen_limit,
    drawn_patients,
    inside_volumes,
    listed_patients,
    separate_groups,
    thin_slices,
    within,
)
from quorum.command import log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

KEYS = {
    "min_annotations",
    "max_annotations",
    "min_diameter_mm",
    "max_diameter_mm",
    "max_slice_thickness_mm",
    "num_patients",
    "patients",
    "seed",
}


def read_criteria(text: str) -> dict:
    """Return the criteria from their JSON.

    Raises
    ------
    InputError
        When it is no JSON object with exactly the keys of the config block.
    """
    try:
        criteria = json.loads(text)
    except json.JSONDecodeError as error:
        criteria = str(error)
    if not isinstance(criteria, dict) or set(criteria) != KEYS:
        raise InputError(
            f"--criteria holds {text!r}",
            f"a JSON object with the keys {', '.join(sorted(KEYS))}",
            "give the config block select_nodules",
        )
    return criteria


def make_steps(criteria: dict, series, slices, files=None) -> list:
    """Return the criteria in use as (words, function), in order.

    Parameters
    ----------
    criteria : dict
        The config block.
    series, slices : DataFrame
        Their tables.
    files : DataFrame, optional
        The files at hand; None when every series can be had.
    """
    fewest, most = criteria["min_annotations"], criteria["max_annotations"]
    limit = chosen_limit(most)
    steps = [
        (f"at most {limit} annotations, one a reader", separate_groups(limit)),
        (f"at least {fewest} annotations", within("num_annotations", low=fewest)),
    ]
    if most < limit:
        steps.append((f"at most {most} annotations", within("num_annotations", high=most)))
    bounds = {"low": criteria["min_diameter_mm"], "high": criteria["max_diameter_mm"]}
    for words, (side, bound) in zip(("at least", "at most"), bounds.items(), strict=True):
        if bound is not None:
            steps.append(
                (f"mean diameter {words} {bound:g} mm", within("diameter_mm", **{side: bound}))
            )
    thickest = criteria["max_slice_thickness_mm"]
    if thickest is not None:
        steps.append((f"slice thickness at most {thickest:g} mm", thin_slices(series, thickest)))
    if criteria["patients"]:
        known = sorted(set(series["patient_id"]))
        steps.append(("a patient of the list", listed_patients(criteria["patients"], known)))
    if files is not None:
        steps.append(("series among the local files", among_files(files)))
        steps.append(("centre inside a local volume", inside_volumes(files, slices)))
    if criteria["num_patients"] is not None:
        draw = drawn_patients(criteria["num_patients"], criteria["seed"])
        steps.append((f"a draw of {criteria['num_patients']} patients", draw))
    return steps


def require_nodules(attrition: pd.DataFrame):
    """Raise an InputError that names the criterion which left no nodule."""
    if int(attrition["num_out"].iloc[-1]):
        return
    emptied = attrition[attrition["num_out"] == 0].iloc[0]
    raise InputError(
        f"no nodule is left after the criterion {emptied['criterion']!r} "
        f"({emptied['num_in']} came in)",
        "at least one nodule",
        "loosen select_nodules in the config, or check which files source.root holds",
    )


def main(argv=None):
    """Read the tables, apply the criteria, write the cohort and its attrition."""
    parser = make_parser(__doc__)
    for name in ("--nodules", "--series", "--slices", "--criteria"):
        parser.add_argument(name, required=True)
    parser.add_argument("--files", nargs="*", default=[], help="none: every series can be had")
    parser.add_argument("--out-nodules", required=True)
    parser.add_argument("--out-attrition", required=True)
    args = parser.parse_args(argv)

    criteria = read_criteria(args.criteria)
    nodules, series = read_table(args.nodules, "nodules"), read_table(args.series, "series")
    slices = read_table(args.slices, "slices")
    files = [read_table(path, "files") for path in args.files]
    files = pd.concat(files) if files else None
    selected, attrition = apply_steps(nodules, make_steps(criteria, series, slices, files))
    dropped = {
        f"not {criterion}": count
        for criterion, count in zip(attrition["criterion"], attrition["num_dropped"], strict=True)
    }
    log_counts("nodules", came_in=len(nodules), dropped=dropped, went_out=len(selected))
    require_nodules(attrition)
    made_by = provenance(__file__, args)
    write_table(attrition, args.out_attrition, "attrition", made_by)
    write_table(selected, args.out_nodules, "nodules", made_by)


if __name__ == "__main__":
    run_command(main)
