"""Objects from a public S3 bucket through `s5cmd`: listed, fetched, ended when they stall.

s5cmd does the transfer; what it lacks is added here: a transfer without bytes for a stated time is
ended (it hangs past 150 s whatever `--retry-count`), its half-written names are removed, and its
messages become reasons that a person understands.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from quorum.errors import InputError

POLL_S = 0.2
# The public bucket lies in this region; s5cmd without one asks the bucket first.
REGION = "us-east-1"


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
        Objects fetched at the same time by one command.
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
        words += ["--retry-count", "2", "--log", "error"]
        return words + (["--endpoint-url", self.endpoint] if self.endpoint else [])


def list_objects(bucket: Bucket, prefix: str) -> list[StoredObject]:
    """Return the objects under `prefix` (`s3://<bucket>/<folder>/`), sorted by key.

    Raises
    ------
    TransferError
        When the bucket does not answer, or not with a listing.
    """
    words = [*bucket.command(), "--log", "info", "ls", f"{prefix}*"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=bucket.stall_s, env=environment()
        )
    except subprocess.TimeoutExpired:
        raise TransferError(f"no listing of {prefix} within {bucket.stall_s:g} s") from None
    if done.returncode:
        raise TransferError(f"no listing of {prefix}: {error_reason(done.stderr)}")
    objects = []
    for line in done.stdout.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            raise TransferError(f"the listing of {prefix} is no listing: {line[:80]!r}") from None
        if entry.get("type") == "file":
            key, etag = entry["key"], str(entry.get("etag", ""))
            objects.append(StoredObject(key, int(entry["size"]), etag.strip('"').lower()))
    return sorted(objects, key=lambda item: item.key)


def fetch_objects(bucket: Bucket, objects: list[StoredObject], folder: Path):
    """Fetch the objects into `folder`, each under the last part of its key.

    Names must have been checked before (`safe_name`). Objects that came whole stay in the folder
    whatever happens to the others; nothing half-written keeps a final name.

    Raises
    ------
    TransferError
        With the reason of the first object that did not come, or when nothing moved for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    commands = "".join(f"cp '{item.key}' '{folder / item.name}'\n" for item in objects)
    errors = folder / ".errors"
    with open(errors, "w+", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [*bucket.command(), "run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            env=environment(),
            start_new_session=True,
        )
        try:
            process.stdin.write(commands.encode())
            process.stdin.close()
            stalled = wait_while_growing(process, folder, bucket.stall_s)
        finally:
            end_group(process)
        stream.seek(0)
        reason = error_reason(stream.read())
    errors.unlink(missing_ok=True)
    wanted = {item.name for item in objects}
    for file in folder.iterdir():
        if any(file.name != name and file.name.startswith(name) for name in wanted):
            file.unlink()
    if stalled:
        raise TransferError(f"no byte came for {bucket.stall_s:g} s")
    if process.returncode:
        raise TransferError(reason)


def wait_while_growing(process, folder: Path, stall_s: float) -> bool:
    """Wait for a process; return True when its folder stopped growing for `stall_s` before."""
    last_size, last_change = -1, time.monotonic()
    while True:
        try:
            process.wait(POLL_S)
            return False
        except subprocess.TimeoutExpired:
            size = folder_bytes(folder)
        if size != last_size:
            last_size, last_change = size, time.monotonic()
        elif time.monotonic() - last_change > stall_s:
            return True


def folder_bytes(folder: Path) -> int:
    """Return the bytes that a folder's files take on the disk, so that holes don't count."""
    total = 0
    for file in os.scandir(folder):
        try:
            total += file.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def end_group(process):
    """End a process and all that it started."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment() -> dict:
    """Return the environment for s5cmd: no credentials, a fixed region."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return {**kept, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}


def error_reason(text: str) -> str:
    """Return the first error in s5cmd's output, in one short line."""
    for line in text.splitlines():
        try:
            reason = json.loads(line).get("error", "")
        except (ValueError, AttributeError):
            reason = line
        if reason:
            return " ".join(str(reason).split())[:300]
    return "s5cmd ended without a reason"
