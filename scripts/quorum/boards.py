"""A run's history as TensorBoard files, while it is at work."""

import shutil
from pathlib import Path

from quorum.command import PROGRESS_EVERY_S

NAMES = {2: "loss", 3: "learning_rate", 4: "validation_dice"}


class Board:
    """Writes rows of history to a folder for TensorBoard; without a folder, nothing.

    Parameters
    ----------
    folder : str, Path or None
        Emptied at the start: the rows so far are written again, so that a resumed run's files hold
        each step once.
    rows : list
        History so far: step, epoch, loss, learning_rate, validation_dice, duration_s.
    """

    def __init__(self, folder, rows: list):
        self.writer = None
        if folder is None:
            return
        from torch.utils.tensorboard import SummaryWriter

        shutil.rmtree(folder, ignore_errors=True)
        self.writer = SummaryWriter(str(Path(folder)), flush_secs=int(PROGRESS_EVERY_S))
        for row in rows:
            self.add(row)

    def add(self, row: list):
        """Write one row."""
        if self.writer is None:
            return
        for column, name in NAMES.items():
            if row[column] is not None:
                self.writer.add_scalar(name, row[column], row[0])

    def close(self):
        """Write what is left."""
        if self.writer is not None:
            self.writer.close()
