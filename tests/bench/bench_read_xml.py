"""Time reading of the whole XML and grouping by reader, and how both grow with their input.

    QUORUM_REAL_DATA=... python tests/bench/bench_read_xml.py

Prints processor seconds and, for half and all of the series, the ratio; 2 is linear.
"""

import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from annotation_factory import real_tables  # noqa: E402

from quorum.annotations import describe_annotations  # noqa: E402
from quorum.reader_nodules import group_by_reader  # noqa: E402
from quorum.tables import read_table  # noqa: E402
from quorum.xml_archive import read_members  # noqa: E402
from quorum.xml_reading import read_messages, read_xml  # noqa: E402

XML = Path(os.environ["QUORUM_REAL_DATA"], "lidc-xml", "tcia-lidc-xml.tar.xz")
MAX_READ_S, MAX_GROUP_S = 30.0, 10.0


def measured(work, *args):
    """Return the result and the processor and wall seconds of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work(*args)
    return result, time.process_time() - cpu, time.perf_counter() - wall


def read_all(series, slices):
    """Read, tabulate and describe everything, as the rule does."""
    reading = read_xml(XML, series, slices)
    return reading, describe_annotations(reading.marks, reading.contours, series)


def reading_ratio() -> float:
    """Return the time a file of parsing all files, over that of every second one."""
    times = {}
    members = read_members(XML)
    for share in (2, 1):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "part.zip")
            with zipfile.ZipFile(path, "w") as archive:
                for name in list(members)[::share]:
                    archive.writestr(name, members[name])
            (messages, _), cpu_s, _ = measured(read_messages, path)
        times[share] = cpu_s / len(messages)
    return times[1] / times[2]


def main():
    """Print the two times beside their limits, and both ratios."""
    paths = real_tables()
    series, slices = read_table(paths["series"], "series"), read_table(paths["slices"], "slices")
    (reading, annotations), cpu_s, wall_s = measured(read_all, series, slices)
    print(f"reading {len(reading.files)} files: {cpu_s:.1f} s of processor, {wall_s:.1f} s wall, "
          f"limit {MAX_READ_S:.0f} s")  # fmt: skip
    print(f"reading, time a file, all over half: {reading_ratio():.2f} (1 is linear)")
    times = {}
    for share in (2, 1):
        kept = set(sorted(set(annotations["series_uid"]))[::share])
        marks = annotations[annotations["series_uid"].isin(kept)]
        outlines = reading.contours[reading.contours["series_uid"].isin(kept)]
        _, cpu_s, wall_s = measured(group_by_reader, marks, outlines, slices, series)
        times[share] = cpu_s / len(marks)
        print(f"grouping {len(marks)} marks: {cpu_s:.1f} s of processor, {wall_s:.1f} s wall, "
              f"limit {MAX_GROUP_S:.0f} s")  # fmt: skip
    print(f"grouping, time a mark, all over half: {times[1] / times[2]:.2f} (1 is linear)")


if __name__ == "__main__":
    main()
