"""A program that is watched while it runs: its lines, whether bytes still come, and its end."""

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.5
# ASSUME: a program that has closed its output ends within a minute, or never (choice).
END_S = 60.0
# prctl(2): a process is sent this signal when the one that started it dies.
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def read_lines(stream, lines: queue.SimpleQueue):
    """Put each line of a stream on a queue, and None at its end."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def follow(lines: queue.SimpleQueue, *, read, size, tick, stall_s: float) -> bool:
    """Handle lines until their end; return False when nothing came or grew for `stall_s`."""
    last_size, last_change = None, time.monotonic()
    while True:
        try:
            line = lines.get(timeout=min(POLL_S, stall_s / 4))
        except queue.Empty:
            if (now := size()) != last_size:
                last_size, last_change = now, time.monotonic()
            elif time.monotonic() - last_change > stall_s:
                return False
        else:
            if line is None:
                return True
            last_change = time.monotonic()
            # What is no JSON is no listing: a server may answer with a page.
            with contextlib.suppress(ValueError):
                read(json.loads(line))
        if tick is not None:
            tick()


def folder_bytes(folder: Path) -> int:
    """Return the bytes that a folder's files take on the disk, so that holes don't count."""
    total = 0
    for file in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            total += file.stat(follow_symlinks=False).st_blocks * 512
    return total


def die_with_parent():
    """Have the kernel end this process when the job that started it is killed (Linux)."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_group(process, *, at_once: bool):
    """Wait for a process, or end it and all that it started: at once, or when it outstays."""
    if not at_once:
        try:
            process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            at_once = True
    if at_once:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
