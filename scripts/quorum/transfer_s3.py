"""Objects from a public S3 bucket through `s5cmd`: listed, fetched, ended when they stall.

s5cmd does the transfer; what it lacks is added here: a transfer without bytes for a stated time is
ended (it hangs past 150 s whatever `--retry-count`), it dies with the job that started it, its
half-written names are removed, and its messages become reasons that a person understands.
"""

import dataclasses
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from quorum.errors import InputError
from quorum.watched_process import die_with_parent, end_group, folder_bytes, follow, read_lines

# The public bucket lies in this region; s5cmd without one asks the bucket first.
REGION = "us-east-1"
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{1,99}")


class TransferError(Exception):
    """A transfer that did not end well and may be tried again; its text is the reason."""


@dataclasses.dataclass(frozen=True)
class StoredObject:
    """One object of a bucket: its key, size in bytes, and ETag (an MD5 unless it has a dash)."""

    key: str
    num_bytes: int
    etag: str

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rsplit("/", 1)[-1]


@dataclasses.dataclass(frozen=True)
class Bucket:
    """How a bucket is reached.

    Attributes
    ----------
    endpoint : str
        URL of another S3 server, or empty for the public one.
    workers : int
        Objects fetched at the same time.
    stall_s : float
        A transfer without a new byte for so long is ended [s].
    """

    endpoint: str
    workers: int
    stall_s: float

    def command(self) -> list:
        """Return the words of s5cmd with its global options."""
        program = shutil.which("s5cmd")
        if program is None:
            raise InputError(
                "the program s5cmd is not on the PATH",
                "the version that envs/constraints.txt pins",
                "run `make env`, and activate .venv",
            )
        words = [program, "--json", "--no-sign-request", "--numworkers", str(self.workers)]
        words += ["--retry-count", "2", "--log", "info"]
        words += ["--endpoint-url", self.endpoint] if self.endpoint else []
        return [*words, "run"]


def series_prefix(row) -> str:
    """Return the s3 address of a series' folder, or raise an InputError where it can't be one."""
    for part in (row.bucket, row.crdc_series_uuid):
        if not FOLDER.fullmatch(part):
            raise InputError(
                f"the index gives {part[:80]!r} as the place of the series {row.series_uid}",
                "a bucket and a folder of letters, digits, dots and dashes",
                "install idc-index-data in the version that envs/constraints.txt pins",
            )
    return f"s3://{row.bucket}/{row.crdc_series_uuid}/"


class Listing:
    """A listing of several folders of a bucket that is under way."""

    def __init__(self, prefixes: list, started: "Started"):
        self.prefixes, self.started, self.is_taken = prefixes, started, False

    def covers(self, prefixes) -> bool:
        """Tell whether it lists all these folders, and its result has not been taken yet."""
        return not self.is_taken and set(prefixes) <= set(self.prefixes)

    def result(self) -> dict:
        """Wait for it; once.

        Returns
        -------
        dict
            For each prefix its StoredObjects, sorted by key, or the TransferError that says why
            there is no listing of it.
        """
        self.is_taken = True
        found = {prefix: [] for prefix in self.prefixes}
        broken = []

        def read(entry):
            if entry.get("type") == "file":
                key, etag = entry["key"], str(entry.get("etag", ""))
                item = StoredObject(key, int(entry.get("size", 0)), etag.strip('"').lower())
                found.get(key.rsplit("/", 1)[0] + "/", broken).append(item)

        outcome = self.started.finish(read=read, size=lambda: len(found))
        for prefix in self.prefixes:
            if (reason := outcome.reason_of(prefix)) or not found[prefix]:
                reason = reason or "no object found"
                found[prefix] = TransferError(f"no listing of {prefix}: {reason}")
            else:
                found[prefix].sort(key=lambda item: item.key)
        return found


def start_listing(bucket: Bucket, prefixes: list) -> Listing:
    """Start to list folders of a bucket, `s3://<bucket>/<folder>/` each."""
    commands = [f"ls {shlex.quote(prefix + '*')}" for prefix in prefixes]
    return Listing(prefixes, Started(bucket, commands))


def fetch_objects(bucket: Bucket, wanted: list, *, wholes, arrived, tick=None) -> "Outcome":
    """Fetch objects, each to its own path.

    Objects that came whole stay whatever happens to the others; nothing half-written keeps a final
    name.

    Parameters
    ----------
    bucket : Bucket
    wanted : list of (StoredObject, Path)
        Names must have been checked before (`checked_file_name`); the folders must be there.
    wholes : set of Path
        Folders in which everything under their objects' prefix is wanted: s5cmd asks twice for an
        object that it is given by name, and once for one that it lists itself.
    arrived : callable
        Called with the place in `wanted` of each object that came, while others are under way.
    tick : callable, optional
        Called without arguments some times a second.

    Returns
    -------
    Outcome
        Why objects did not come.
    """
    places = {str(path): place for place, (_, path) in enumerate(wanted)}
    under_way = {path.parent: 0 for _, path in wanted}
    for _, path in wanted:
        under_way[path.parent] += 1

    def read(entry):
        place = places.get(entry.get("destination"))
        if entry.get("success") and place is not None:
            under_way[wanted[place][1].parent] -= 1
            arrived(place)

    def size():
        return sum(folder_bytes(folder) for folder, left in under_way.items() if left)

    commands = {}
    for item, path in wanted:
        source, target = item.key, str(path)
        if path.parent in wholes:
            # Flattened, so that no name leaves the folder, whatever is listed this time.
            source, target = f"{item.key.rsplit('/', 1)[0]}/*", f"{path.parent}/"
        option = "--flatten " if path.parent in wholes else ""
        commands[f"cp {option}{shlex.quote(source)} {shlex.quote(target)}"] = None
    try:
        return Started(bucket, list(commands)).finish(read=read, size=size, tick=tick)
    finally:
        remove_halves([path for _, path in wanted])


def remove_halves(paths: list):
    """Remove the half-written files that s5cmd leaves: a final name with digits behind it."""
    names: dict[Path, set] = {}
    for path in paths:
        names.setdefault(path.parent, set()).add(path.name)
    for folder, wanted in names.items():
        for file in folder.iterdir():
            whole = file.name.rstrip("0123456789")
            if file.name not in wanted and whole in wanted:
                file.unlink()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How commands of s5cmd ended: its errors by command, and why all of them were ended."""

    errors: dict
    ended: str

    def reason_of(self, key: str) -> str:
        """Return why the command that names `key` failed; empty when nothing says that it did."""
        folder = key.rsplit("/", 1)[0]
        for command, reason in self.errors.items():
            if f"{folder}/*" in command or f"{key} " in f"{command} ":
                return reason
        return self.ended or self.errors.get("", "")


class Started:
    """s5cmd at work on a list of commands.

    Parameters
    ----------
    bucket : Bucket
    commands : list of str
        Lines for `s5cmd run`.
    """

    def __init__(self, bucket: Bucket, commands: list):
        self.lines, self.stall_s = queue.SimpleQueue(), bucket.stall_s
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `end`)
        with tempfile.TemporaryFile() as given:
            given.write("".join(f"{command}\n" for command in commands).encode())
            given.seek(0)
            self.process = subprocess.Popen(
                bucket.command(),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                env=environment(),
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        words = (self.process.stdout, self.lines)
        self.reader = threading.Thread(target=read_lines, args=words, daemon=True)
        self.reader.start()

    def finish(self, *, read, size, tick=None) -> Outcome:
        """Handle its output to its end, and end it when it stalls.

        Parameters
        ----------
        read : callable
            Called with each line of its output, a dict.
        size : callable
            Returns a number that changes while bytes come.
        tick : callable, optional
            Called without arguments some times a second.
        """
        ended = ""
        try:
            if not follow(self.lines, read=read, size=size, tick=tick, stall_s=self.stall_s):
                ended = f"no byte came for {self.stall_s:g} s"
        finally:
            text = self.end(at_once=bool(ended) or sys.exc_info()[0] is not None)
        return Outcome(read_errors(text), ended)

    def end(self, *, at_once: bool) -> str:
        """Wait for its end, or bring it about; return what it wrote about errors."""
        if self.errors.closed:
            return ""
        end_group(self.process, at_once=at_once)
        self.reader.join()
        self.process.stdout.close()
        self.errors.seek(0)
        with self.errors:
            return self.errors.read().decode(errors="replace")


def environment() -> dict:
    """Return the environment for s5cmd: no credentials, a fixed region."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return {**kept, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}


def read_errors(text: str) -> dict:
    """Return s5cmd's errors by command, each in one short line; "" for one without a command."""
    errors: dict[str, str] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            command, reason = entry.get("command", ""), entry.get("error", "")
        except (ValueError, AttributeError):
            command, reason = "", line
        if reason:
            errors.setdefault(command, " ".join(str(reason).split())[:300])
    return errors
