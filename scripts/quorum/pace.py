"""How fast a training goes, in the log."""

import logging
import time

from quorum.command import PROGRESS_EVERY_S

LOG = logging.getLogger("quorum")


class Pace:
    """Logs step, loss, steps a second and the time left, at most every 10 s.

    Parameters
    ----------
    first : int
        Steps that were done before.
    last : int
        Steps in all.
    """

    def __init__(self, first: int, last: int):
        self.first, self.last = first, last
        self.logged_at = self.started_at = time.monotonic()

    def log(self, step: int, loss: float):
        """Log that a step is done, when it is time."""
        now = time.monotonic()
        if now - self.logged_at < PROGRESS_EVERY_S:
            return
        self.logged_at = now
        pace = (step - self.first) / (now - self.started_at)
        text = "step %d of %d, loss %.4f, %.2f steps/s, about %.0f s left"
        LOG.info(text, step, self.last, loss, pace, (self.last - step) / pace)
