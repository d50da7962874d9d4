"""Small LIDC XML files and archives of them, for everybody's tests.

text = message([session([nodule("1", cube_outlines(20, 100, 150, 4))])])
folder = write_folder(tmp_path / "xml", {"157/158.xml": text})
paths = read(tmp_path / "out", folder)               # the tables of read_xml, by name
"""

import functools
import io
import tarfile
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

from annotation_factory import SERIES, make_series, make_slices

from quorum.tables import write_table

NAMESPACE = "http://www.nih.gov"
RATINGS = [
    "subtlety", "internalStructure", "calcification", "sphericity", "margin", "lobulation",
    "spiculation", "texture", "malignancy",
]  # fmt: skip
OUTPUTS = {
    "annotations": "annotations.csv",
    "contours": "contours.parquet",
    "points": "points.csv",
    "sessions": "sessions.csv",
    "files": "files.csv",
    "remarks": "remarks.csv",
}


def roi(z_mm, rows, columns, inclusion="TRUE") -> str:
    """Return one outline."""
    points = "".join(
        f"<edgeMap><xCoord>{column}</xCoord><yCoord>{row}</yCoord></edgeMap>"
        for row, column in zip(rows, columns, strict=True)
    )
    return (
        f"<roi><imageZposition>{z_mm}</imageZposition><imageSOP_UID>1.2</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{points}</roi>"
    )


def nodule(name: str, outlines: list, ratings=(3,) * 9) -> str:
    """Return one nodule; without ratings (None) it has no characteristics."""
    words = "" if ratings is None else "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(RATINGS, ratings, strict=True)
    )  # fmt: skip
    words = f"<characteristics>{words}</characteristics>" if words else ""
    rois = "".join(one if isinstance(one, str) else roi(*one) for one in outlines)
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{words}{rois}</unblindedReadNodule>"


def small_nodule(name: str, z_mm: float, row: int, column: int) -> str:
    """Return a nodule under 3 mm: one point, no ratings."""
    return nodule(name, [(z_mm, [row], [column])], None)


def non_nodule(name: str, z_mm: float, row: int, column: int) -> str:
    """Return a non-nodule."""
    return (
        f"<nonNodule><nonNoduleID>{name}</nonNoduleID><imageZposition>{z_mm}</imageZposition>"
        f"<imageSOP_UID>1.2</imageSOP_UID><locus><xCoord>{column}</xCoord><yCoord>{row}</yCoord>"
        "</locus></nonNodule>"
    )


def session(marks=(), reader="anon") -> str:
    """Return one reading session."""
    head = f"<annotationVersion>3.12</annotationVersion><servicingRadiologistID>{reader}"
    return f"<readingSession>{head}</servicingRadiologistID>{''.join(marks)}</readingSession>"


def message(
    sessions, series_uid=SERIES, *, uid="1.9.1", namespace=NAMESPACE, root="LidcReadMessage"
):
    """Return a whole file."""
    series = f"<SeriesInstanceUid>{series_uid}</SeriesInstanceUid>" if series_uid else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<{root} uid="{uid}" xmlns="{namespace}"><ResponseHeader><Version>1.7</Version>{series}'
        f"</ResponseHeader>{''.join(sessions)}</{root}>"
    )


def write_folder(folder, files: dict) -> Path:
    """Write files (text or bytes, by name) into a folder."""
    for name, text in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Path(folder)


def write_zip(path, files: dict) -> Path:
    """Write files into a zip, in the order given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return Path(path)


def write_tar(path, files: dict) -> Path:
    """Write files into a compressed tar, in the order given."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            data = text if isinstance(text, bytes) else text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return Path(path)


def series_tables(folder, uids=(SERIES,)) -> list:
    """Write series and slices; return the flags that name them."""
    folder = Path(folder)
    write_table(make_series(uids), folder / "series.csv", "series", {})
    write_table(make_slices(uids), folder / "slices.parquet", "slices", {})
    return ["--series", str(folder / "series.csv"), "--slices", str(folder / "slices.parquet")]


def read(folder, xml, uids=(SERIES,)) -> dict:
    """Run read_xml; return the paths of its tables by name."""
    import read_xml

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / file for name, file in OUTPUTS.items()}
    outputs = [word for name, path in paths.items() for word in (f"--out-{name}", str(path))]
    read_xml.main(["--xml", str(xml), *series_tables(folder, uids), *outputs])
    return paths


@functools.cache
def real_xml(archive: str) -> SimpleNamespace:
    """Return the tables of the real XML, made once: paths by name, and those of real_tables."""
    import group_annotations
    import read_xml
    from annotation_factory import real_tables

    folder = Path(tempfile.mkdtemp(prefix="quorum-xml-"))
    real = real_tables()
    paths = {name: folder / file for name, file in OUTPUTS.items()}
    outputs = [word for name, path in paths.items() for word in (f"--out-{name}", str(path))]
    tables = ["--series", str(real["series"]), "--slices", str(real["slices"])]
    read_xml.main(["--xml", archive, *tables, *outputs])
    paths["nodules"], paths["decisions"] = folder / "nodules.csv", folder / "decisions.csv"
    named = ("annotations", "contours", "sessions", "points")
    flags = [word for name in named for word in (f"--{name}", str(paths[name]))]
    group_annotations.main(
        [*tables, *flags, "--method", "by_reader", "--out-nodules", str(paths["nodules"]),
         "--out-decisions", str(paths["decisions"])]
    )  # fmt: skip
    return SimpleNamespace(xml=paths, pylidc=real)
