"""The analysis plan: fixed and stored before the test part is looked at, and every look at it.

A look is one file of the folder `looks` beside the frozen plan, so that two jobs never write to
the same one and none is lost when a job's declared outputs are removed.
"""

import datetime
import json
from pathlib import Path

import pandas as pd

from quorum.closed_schema import SCHEMAS, check_against, load_yaml
from quorum.code import code_digest
from quorum.errors import InputError
from quorum.files import sha256_file, sha256_text, write_whole
from quorum.tables import column_names

TEST = "test"


def read_plan(path) -> dict:
    """Return the analysis plan, checked against its closed schema.

    Raises
    ------
    InputError
        When it is missing, no YAML, or breaks its schema.
    """
    try:
        plan = load_yaml(path)
    except OSError as error:
        raise InputError(
            f"the analysis plan {path} can't be read ({error.strerror})",
            "config/analysis_plan.yaml",
            "name an existing file",
        ) from error
    check_against(plan, load_yaml(SCHEMAS / "analysis_plan.schema.yaml"), str(path))
    return plan


def plan_digest(plan: dict) -> str:
    """Return the SHA-256 of a plan's content: an edited comment is the same plan."""
    return sha256_text(json.dumps(plan, sort_keys=True))


def read_frozen_plan(path) -> dict:
    """Return the frozen plan: plan, plan_sha256, frozen_utc.

    Raises
    ------
    InputError
        When none is given, or it is unreadable or was edited by hand.
    """
    expected = "plan.json of the rule freeze_plan, stored before the test part was predicted"
    if not path:
        raise InputError(
            "the test part would be looked at without a frozen analysis plan",
            expected,
            "run the rule freeze_plan first, and name its file as --frozen-plan",
        )
    try:
        frozen = json.loads(Path(path).read_text(encoding="utf-8"))
        is_whole = frozen["plan_sha256"] == plan_digest(frozen["plan"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the frozen plan {path} can't be read ({error})", expected, "run freeze_plan again"
        ) from error
    if not is_whole:
        raise InputError(
            f"the plan in {path} has another digest than the one stored with it",
            expected,
            "restore that file; a frozen plan is not edited",
        )
    return frozen


def check_same_plan(attributes, frozen: dict):
    """Raise an InputError unless predictions of the test part were made under the frozen plan.

    Parameters
    ----------
    attributes : mapping
        Of the prediction file.
    frozen : dict
        Of `read_frozen_plan`.
    """
    found = str(attributes.get("analysis_plan_sha256", "none"))
    if found != frozen["plan_sha256"]:
        raise InputError(
            f"the predictions of the test part were made under the analysis plan {found[:16]}",
            f"the frozen plan {frozen['plan_sha256'][:16]}",
            "predict the test part again with the rule predict_ensemble, under this plan",
        )


def log_look(folder, experiment: str, *, predictions, plan: dict):
    """Write down that the test part is looked at now, before anything of it is scored.

    Raises
    ------
    InputError
        When there is no folder for it.
    """
    if not folder:
        raise InputError(
            "the test part would be looked at without a log of it",
            "a folder for the looks at the test part",
            "name it as --looks",
        )
    now = datetime.datetime.now(datetime.UTC)
    look = {
        "time_utc": now.isoformat(timespec="seconds"),
        "experiment": str(experiment),
        "predictions_sha256": sha256_file(predictions),
        "plan_sha256": plan["plan_sha256"],
        "frozen_utc": plan["frozen_utc"],
        "code_digest": code_digest("score_predictions"),
    }
    path = Path(folder) / f"{now:%Y%m%dT%H%M%S%f}_{experiment}.json"
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(look, indent=1) + "\n", encoding="utf-8")


def read_looks(folder) -> pd.DataFrame:
    """Return the table `looks`, oldest first; empty where there was none.

    Raises
    ------
    InputError
        When a file of the folder is no look.
    """
    rows = []
    for path in sorted(Path(folder).glob("*.json")) if folder else []:
        try:
            look = json.loads(path.read_text(encoding="utf-8"))
            rows.append({name: look[name] for name in column_names("looks")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is no look at the test part ({error})",
                "a file that score_predictions wrote",
                "restore it: the looks are part of the result",
            ) from error
    frame = pd.DataFrame(rows, columns=column_names("looks"), dtype=object)
    return frame.sort_values("time_utc", kind="stable", ignore_index=True)
