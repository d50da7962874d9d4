"""Tables of the page: sortable and searchable there, and each a CSV file beside it."""

import csv
import io
import math
from dataclasses import dataclass, field

from quorum.report.svg import number, tick_words
from quorum.tables import load_schema

SHORTEST = -1


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    key : str
        Name in the rows and in the CSV file.
    label : str
        Heading, with the unit.
    digits : int or None
        Decimals shown; None: text; SHORTEST: as many as needed, at most four digits. The CSV file
        keeps the whole number.
    note : str
        Meaning, shown on hovering and read out.
    link : str
        Key of the row that holds a link's target, or empty.
    """

    key: str
    label: str
    digits: int | None = None
    note: str = ""
    link: str = ""

    @property
    def is_number(self) -> bool:
        """Whether values stand to the right and sort as numbers."""
        return self.digits is not None


@dataclass(frozen=True)
class Table:
    """A table: name (its file and anchor), caption, columns, rows as dicts."""

    name: str
    caption: str
    columns: list
    rows: list = field(default_factory=list)
    opens_nodules: bool = False

    @property
    def anchor(self) -> str:
        """The table's id in its page."""
        return f"table-{self.name}"

    def cell(self, row: dict, column: Column) -> str:
        """Return a value as a person reads it."""
        value = row.get(column.key)
        if is_missing(value):
            return "–"
        if isinstance(value, str):
            return value
        if column.digits == SHORTEST:
            return tick_words(float(f"{value:.4g}"))
        if column.is_number:
            return number(int(value) if column.digits == 0 else float(value), column.digits)
        return str(value)

    def sort_key(self, row: dict, column: Column) -> str:
        """Return what the page sorts by; empty for missing, which stays last."""
        value = row.get(column.key)
        return "" if is_missing(value) else str(value)

    def csv_text(self) -> str:
        """Return the table as CSV with all digits."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        for row in self.rows:
            values = [row.get(column.key) for column in self.columns]
            writer.writerow(["" if is_missing(value) else value for value in values])
        return stream.getvalue()


def is_missing(value) -> bool:
    """Tell whether a value is None, NaN or pandas' NA."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return type(value).__name__ == "NAType"


def plain(value):
    """Return a NumPy or pandas scalar as a Python one, missing as None."""
    if is_missing(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return None if is_missing(value) else value


def records(frame) -> list:
    """Return a DataFrame's rows as dicts of Python values."""
    return [{key: plain(value) for key, value in row.items()} for row in frame.to_dict("records")]


def frame_table(name: str, caption: str, frame, columns: list, **choices) -> Table:
    """Return a table of some columns of a DataFrame or of rows; lists as text, flags as words."""
    rows = frame if isinstance(frame, list) else records(frame)
    for row in rows:
        for key, value in row.items():
            if isinstance(value, list):
                row[key] = ", ".join(map(str, value))
            elif isinstance(value, bool):
                row[key] = "yes" if value else "no"
    return Table(name, caption, columns, rows, **choices)


def schema_columns(schema: str, wanted: dict, shortest=()) -> list:
    """Return columns of a table of the pipeline, each with its meaning from the table's schema.

    Parameters
    ----------
    schema : str
        Name of the table.
    wanted : dict
        Column to its heading. Numbers have 3 decimals, integers none; a column that the schema
        doesn't hold is text of the report's own.
    shortest : collection of str
        Numbers with as many digits as needed, in place of 3 decimals.
    """
    known = {column["name"]: column for column in load_schema(schema)["columns"]}
    digits = {"number": 3, "integer": 0}
    own = {"dtype": "string", "meaning": ""}
    columns = []
    for key, label in wanted.items():
        one = known.get(key, own)
        places = digits.get(one["dtype"])
        places = SHORTEST if places is not None and key in shortest else places
        columns.append(Column(key, label, places, one["meaning"]))
    return columns


@dataclass(frozen=True)
class Section:
    """One section of a page.

    Attributes
    ----------
    name : str
        Anchor, and the template workflow/report/sections/<name>.html.j2.
    title : str
    values : dict
        What the template speaks of.
    tables, figures : dict
        By a short key the template uses.
    files : dict
        Further files for the assets folder: relative name to bytes or text.
    stream : iterable
        Many or large such files, as pairs, made when they are written.
    """

    name: str
    title: str
    values: dict = field(default_factory=dict)
    tables: dict = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    stream: object = ()
