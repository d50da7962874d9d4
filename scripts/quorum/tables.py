"""Tables with a schema: columns, types and units are checked whenever one is written or read.

A schema is `workflow/schemas/tables/<table>.yaml`:

    table: series
    made_by: list_series
    meaning: one row a CT series
    columns:
      - {name: series_uid, dtype: string, unit: null, nullable: false, meaning: SeriesInstanceUID}

dtype is one of string, integer, number, boolean, strings (space-separated in CSV, a list in
Parquet), integers and numbers (likewise). Beside a CSV table lies `<name>.csv-metadata.json` (the
name that W3C's "CSV on the Web" gives it) with the columns' units and what made the table.
"""

import functools
import json
from pathlib import Path

import pandas as pd
import yaml

from quorum.errors import InputError
from quorum.files import write_whole

SCHEMAS = Path(__file__).resolve().parents[2] / "workflow" / "schemas" / "tables"
PACKAGED_SCHEMAS = Path(__file__).resolve().parent / "schemas" / "tables"
SCALARS = {"string": "string", "integer": "Int64", "number": "float64", "boolean": "boolean"}
LIST_ROWS_AT_ONCE = 2048
LISTS = {"strings": str, "integers": int, "numbers": float}


@functools.cache
def load_schema(table: str) -> dict:
    """Return the schema of a table by its name, such as `nodules`."""
    folder = SCHEMAS if SCHEMAS.is_dir() else PACKAGED_SCHEMAS
    # libyaml's loader takes a tenth of the time: 0.1 s of CPU a schema otherwise.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((folder / f"{table}.yaml").read_text(encoding="utf-8"), Loader=loader)


def column_names(table: str) -> list:
    """Return the names of a table's columns, in the schema's order."""
    return [column["name"] for column in load_schema(table)["columns"]]


def check_table(frame: pd.DataFrame, table: str, origin: str) -> pd.DataFrame:
    """Return `frame` with the schema's columns in its order and types.

    Raises
    ------
    InputError
        When a column is missing or unknown, a value is of another type, or missing where the
        schema allows none. An empty frame with the right columns is fine.
    """
    schema = load_schema(table)
    names = [column["name"] for column in schema["columns"]]
    unknown, missing = sorted(set(frame.columns) - set(names)), sorted(set(names) - set(frame))
    if unknown or missing:
        raise InputError(
            f"the table {origin} has unknown columns {unknown} and lacks {missing}",
            f"the columns of workflow/schemas/tables/{table}.yaml",
            f"make it again with the rule {schema['made_by']}",
        )
    columns = {}
    for column in schema["columns"]:
        name, dtype = column["name"], column["dtype"]
        values = frame[name]
        if dtype in SCALARS and values.dtype != SCALARS[dtype]:
            try:
                values = values.astype(SCALARS[dtype])
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"column {name} of the table {origin} holds what is no {dtype} ({error})",
                    f"{dtype} everywhere",
                    f"make it again with the rule {schema['made_by']}",
                ) from error
        if not column.get("nullable", False) and values.isna().any():
            raise InputError(
                f"column {name} of the table {origin} lacks {int(values.isna().sum())} values",
                "a value in every row",
                f"make it again with the rule {schema['made_by']}",
            )
        columns[name] = values
    return pd.DataFrame(columns, index=frame.index)


def write_table(frame: pd.DataFrame, path, table: str, made_by: dict):
    """Check a table against its schema and write it whole, with its metadata beside it.

    Parameters
    ----------
    frame : DataFrame
        Rows; columns in any order.
    path : str or Path
        `.csv` or `.parquet`.
    table : str
        Name of the schema.
    made_by : dict
        `quorum.command.provenance(...)`.
    """
    path = Path(path)
    frame = check_table(frame, table, path.name)
    schema = load_schema(table)
    if path.suffix == ".parquet":
        write_parquet(frame, path, schema, made_by)
        return
    for column in schema["columns"]:
        if column["dtype"] in LISTS:
            frame[column["name"]] = [join_values(value) for value in frame[column["name"]]]
    metadata = {"url": path.name, "table": table, "columns": schema["columns"], "made_by": made_by}
    with write_whole(path.with_name(f"{path.name}-metadata.json")) as temporary:
        temporary.write_text(json.dumps(metadata, indent=1, sort_keys=True) + "\n")
    with write_whole(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def write_parquet(frame, path, schema, made_by):
    """Write a checked table as Parquet with its schema and origin in the file's metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    notes = {"quorum": json.dumps({"columns": schema["columns"], "made_by": made_by})}
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **notes})
    with write_whole(path) as temporary:
        # Rows with lists lie in small groups, so that a reader takes out those that it wants.
        has_lists = any(column["dtype"] in LISTS for column in schema["columns"])
        size = LIST_ROWS_AT_ONCE if has_lists else None
        pq.write_table(arrow, temporary, compression="zstd", row_group_size=size)


def join_values(value) -> str:
    """Return a list as space-separated text; missing members as `nan`, a missing list as empty."""
    if value is None or (not hasattr(value, "__len__") and pd.isna(value)):
        return ""
    if isinstance(value, str):
        return value
    return " ".join("nan" if pd.isna(member) else str(member) for member in value)


def read_table(path, table: str) -> pd.DataFrame:
    """Read a table and check it against its schema.

    Returns
    -------
    DataFrame
        Scalars in pandas' nullable types, lists as Python lists (numbers: nan for missing).

    Raises
    ------
    InputError
        When the file is missing, unreadable, or not of this schema.
    """
    path = Path(path)
    schema = load_schema(table)
    try:
        if path.suffix == ".parquet":
            return check_table(pd.read_parquet(path), table, path.name)
        texts = {c["name"]: "string" for c in schema["columns"] if c["dtype"] in ("string", *LISTS)}
        frame = pd.read_csv(path, dtype=texts)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(
            f"the table {path} can't be read ({str(error).splitlines()[0]})",
            f"a table of workflow/schemas/tables/{table}.yaml",
            f"make it with the rule {schema['made_by']}",
        ) from error
    for column in schema["columns"]:
        if column["dtype"] in LISTS and column["name"] in frame:
            frame[column["name"]] = split_column(frame[column["name"]], column, path.name)
    return check_table(frame, table, path.name)


def split_column(texts: pd.Series, column: dict, origin: str) -> pd.Series:
    """Return a column of space-separated texts as lists; missing text is an empty list.

    Raises
    ------
    InputError
        When a member is of another type than the schema's.
    """
    kind = LISTS[column["dtype"]]
    try:
        lists = [[kind(member) for member in text.split()] for text in texts.fillna("")]
    except ValueError as error:
        raise InputError(
            f"column {column['name']} of the table {origin} holds a wrong member ({error})",
            column["dtype"],
            "make the table again with its rule",
        ) from error
    return pd.Series(lists, dtype=object, index=texts.index)
