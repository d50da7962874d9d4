"""How far a download is, how fast, and what is left: a line a minute where nobody watches."""

import sys
import threading
import time

from quorum.command import LOG

EVERY_S = 60.0
EVERY_ON_TERMINAL_S = 5.0


class Progress:
    """Bytes of one shard that are verified, beside those of the whole run.

    Parameters
    ----------
    shard : str
        Name of the shard.
    num_bytes : int
        Bytes of all its series.
    all_bytes : int
        Bytes of all shards.
    bytes_of_others : callable
        () -> bytes that the other shards have brought by now.
    """

    def __init__(self, shard: str, num_bytes: int, *, all_bytes: int = 0, bytes_of_others=int):
        self.shard, self.num_bytes = shard, num_bytes
        self.bytes_of_others, self.all_bytes = bytes_of_others, max(all_bytes, num_bytes)
        self.others_before = bytes_of_others()
        self.skipped = self.came = self.num_files = 0
        self.every_s = EVERY_ON_TERMINAL_S if sys.stderr.isatty() else EVERY_S
        self.start = self.last = time.monotonic()
        self.lock = threading.Lock()

    def skip(self, num_bytes: int):
        """Count what an earlier job brought."""
        self.skipped += num_bytes

    def add(self, num_bytes: int, done):
        """Count one file when its verification ended well."""
        if done.cancelled() or done.exception() is not None:
            return
        with self.lock:
            self.came += num_bytes
            self.num_files += 1

    def tick(self):
        """Log a line when it is time for one."""
        now = time.monotonic()
        with self.lock:
            is_time = now - self.last >= self.every_s
            self.last = now if is_time else self.last
        if is_time:
            LOG.info("%s", self.line(now))

    def line(self, now: float) -> str:
        """Return what is done, the speed and the time left, of the shard and in all."""
        done = self.skipped + self.came
        passed_s, others = max(now - self.start, 1e-9), self.bytes_of_others()
        rate = self.came / passed_s
        text = f"{self.shard}: {done / 1e6:.0f} of {self.num_bytes / 1e6:.0f} MB"
        text += f", {rate / 1e6:.1f} MB/s, {time_left(self.num_bytes - done, rate)}"
        in_all = others + done
        text += f"; in all {in_all / 1e9:.1f} of {self.all_bytes / 1e9:.1f} GB"
        rate += max(0, others - self.others_before) / passed_s
        return f"{text}, {time_left(self.all_bytes - in_all, rate)}"


def time_left(num_bytes: int, rate: float) -> str:
    """Return how long bytes will take at a rate [bytes/s], in words."""
    if num_bytes <= 0:
        return "done"
    if rate <= 0:
        return "time left unknown"
    left_s = num_bytes / rate
    for unit, length_s in (("h", 3600), ("min", 60)):
        if left_s >= 2 * length_s:
            return f"about {left_s / length_s:.0f} {unit} left"
    return f"about {left_s:.0f} s left"
