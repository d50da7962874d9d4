"""One XML file of LIDC-IDRI as plain tuples: message, sessions, nodules, points.

The file is untrusted: a document type, and with it every entity, is refused before the tree is
built, and size and depth are bounded. (defusedxml does the same in Python callbacks, at twice the
time for the 5.4 million elements of the collection.)
Source: the LIDC XML schema, http://www.nih.gov; Armato et al. 2011, doi 10.1118/1.3528204.
"""

import xml.etree.ElementTree as ElementTree
from typing import NamedTuple
from xml.parsers import expat

from quorum.errors import InputError
from quorum.ratings import RATINGS
from quorum.xml_archive import MAX_FILE_BYTES

NAMESPACE = "{http://www.nih.gov}"
READ, CHEST_FILM = "LidcReadMessage", "IdriReadMessage"
MAX_DEPTH = 16  # the collection's own depth is 6
# No CT of the collection has more than 1024 rows; far larger numbers only cost memory.
MAX_PIXEL = 8192
MAX_POINTS = 4096  # the longest outline of the collection has 373
TAG_OF = {"internal_structure": "internalStructure"}


class Outline(NamedTuple):
    """One `roi`: z_mm, is_inclusion, and the points' columns (x) and rows (y) as tuples of int."""

    z_mm: float
    is_inclusion: bool
    columns: tuple
    rows: tuple


class Mark(NamedTuple):
    """One `unblindedReadNodule` or `nonNodule` of a session.

    `position` counts a session's marks of one kind from 1, as they stand in the file; `ratings`
    is a dict by the names of RATINGS, empty where the reader gave none; `remarks` holds (level,
    reason, is_used, detail) of whatever was not taken as it stands.
    """

    kind: str
    position: int
    mark_id: str
    ratings: dict
    outlines: tuple
    remarks: tuple


class Session(NamedTuple):
    """One `readingSession`: its number in the file from 1, the reader's released name, marks."""

    number: int
    reader: str
    marks: tuple


class Message(NamedTuple):
    """One file: name, root (local name), series_uid, message_uid, sessions, and why not used."""

    name: str
    root: str
    series_uid: str
    message_uid: str
    sessions: tuple
    reason: str


def parse_message(name: str, data: bytes) -> Message:
    """Return one XML file as a Message.

    Returns
    -------
    Message
        `reason` is empty for a CT read with a series, else `chest_film`, `unknown_root`,
        `unknown_namespace` or `no_series_uid`; sessions are empty then.

    Raises
    ------
    InputError
        When the file is not well-formed, too large, too deep, or declares a document type.
    """
    root = safe_tree(name, data)
    namespace, _, local = root.tag.rpartition("}")
    namespace = f"{namespace}}}" if namespace else ""
    message = Message(name, local, "", root.get("uid", ""), (), "")
    if local == CHEST_FILM:
        return message._replace(reason="chest_film")
    if local != READ:
        return message._replace(reason="unknown_root")
    if namespace != NAMESPACE:
        return message._replace(reason="unknown_namespace")
    series_uid = text_of(root, "ResponseHeader/SeriesInstanceUid")
    if not series_uid:
        return message._replace(reason="no_series_uid")
    sessions = tuple(
        parse_session(number, element)
        for number, element in enumerate(root.findall(f"{NAMESPACE}readingSession"), 1)
    )
    return message._replace(series_uid=series_uid, sessions=sessions)


def safe_tree(name: str, data: bytes):
    """Return the root element; refuse document types, broken, large and deep files."""

    def forbid(*_):
        raise hostile(name, "declares a document type, the place of entities")

    if len(data) > MAX_FILE_BYTES:
        raise hostile(name, f"has {len(data) >> 20} MB, more than {MAX_FILE_BYTES >> 20} MB")
    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = guard.EntityDeclHandler = forbid
    try:
        guard.Parse(data, True)
        root = ElementTree.fromstring(data)
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(
            f"{name} is not well-formed XML ({error})",
            "a whole XML file",
            "take the file from the collection again, it may be cut off",
        ) from error
    level, depth = [root], 0
    while level:
        level, depth = [child for element in level for child in element], depth + 1
        if depth > MAX_DEPTH:
            raise hostile(name, f"is nested deeper than {MAX_DEPTH} levels")
    return root


def hostile(name: str, what: str) -> InputError:
    """Return the error for a file that no reader's tool wrote."""
    return InputError(
        f"{name} {what}",
        "a plain LIDC XML file without document type, of at most 16 MB and 16 levels",
        "don't trust this file; take it from the collection again",
    )


def text_of(element, path: str) -> str:
    """Return the stripped text at a path of local names, empty where it is missing."""
    found = element.find("/".join(NAMESPACE + part for part in path.split("/")))
    return (found.text or "").strip() if found is not None else ""


def parse_session(number: int, element) -> Session:
    """Return one reading session."""
    nodules = element.findall(f"{NAMESPACE}unblindedReadNodule")
    others = element.findall(f"{NAMESPACE}nonNodule")
    marks = [parse_nodule(position, nodule) for position, nodule in enumerate(nodules, 1)]
    marks += [parse_non_nodule(position, other) for position, other in enumerate(others, 1)]
    return Session(number, text_of(element, "servicingRadiologistID"), tuple(marks))


def parse_nodule(position: int, element) -> Mark:
    """Return one nodule: an `annotation` if any outline has two points, else a `small_nodule`."""
    remarks = []
    ratings = parse_ratings(element.find(f"{NAMESPACE}characteristics"), remarks)
    outlines = []
    for roi in element.findall(f"{NAMESPACE}roi"):
        outline, reason = parse_outline(roi)
        if reason:
            remarks.append(("outline", reason, False, f"z {text_of(roi, 'imageZposition')} mm"))
        else:
            outlines.append(outline)
    kind = "annotation" if any(len(o.rows) > 1 for o in outlines) else "small_nodule"
    if kind == "small_nodule" and ratings:
        remarks.append(("rating", "ratings_of_one_point", False, str(list(ratings.values()))))
        ratings = {}
    mark_id = text_of(element, "noduleID")
    return Mark(kind, position, mark_id, ratings, tuple(outlines), tuple(remarks))


def parse_non_nodule(position: int, element) -> Mark:
    """Return one non-nodule, a point."""
    outline, reason = parse_outline(element)
    remarks = [("outline", reason, False, "")] if reason else []
    mark_id = text_of(element, "nonNoduleID")
    outlines = () if reason else (outline,)
    return Mark("non_nodule", position, mark_id, {}, outlines, tuple(remarks))


def parse_ratings(element, remarks: list) -> dict:
    """Return the nine ratings as integers (None where no number), {} where the reader gave none."""
    if element is None or len(element) == 0:
        return {}
    ratings = {}
    for rating in RATINGS:
        text = text_of(element, TAG_OF.get(rating, rating))
        try:
            ratings[rating] = int(text)
        except ValueError:
            ratings[rating] = None
            remarks.append(("rating", "rating_is_no_number", False, f"{rating} = {text[:40]!r}"))
    return ratings


def parse_outline(element):
    """Return an Outline and an empty reason, or None and the reason why it can't be used."""
    try:
        z_mm = float(text_of(element, "imageZposition"))
        columns = tuple([int(x.text) for x in element.iter(f"{NAMESPACE}xCoord")])
        rows = tuple([int(y.text) for y in element.iter(f"{NAMESPACE}yCoord")])
    except (TypeError, ValueError):
        return None, "coordinate_is_no_number"
    if not abs(z_mm) < 1e5:
        return None, "coordinate_is_no_number"
    if not rows or len(rows) != len(columns):
        return None, "no_points"
    if len(rows) > MAX_POINTS:
        return None, "too_many_points"
    if min(rows) < 0 or min(columns) < 0 or max(rows) > MAX_PIXEL or max(columns) > MAX_PIXEL:
        return None, "point_outside_the_image"
    is_inclusion = text_of(element, "inclusion").upper() != "FALSE"
    return Outline(z_mm, is_inclusion, columns, rows), ""
