"""What each step of a run works on, by its number alone; read ahead where cubes are streamed."""

import torch

from quorum.batches import cut_batch, draw_batch
from quorum.errors import InputError
from quorum.plans import training_crop
from quorum.stores import StreamedStore, start_worker
from quorum.targets import make_target
from quorum.waits import cubes_wait_s

# ASSUME: steps that each worker process reads ahead.
READ_AHEAD = 4


class StepBatches(torch.utils.data.Dataset):
    """The steps that are left of a run, each as its number and its (store, draw) pairs.

    Parameters
    ----------
    store : quorum.stores.Store or StreamedStore
    settings : dict
        The plan's.
    seed : int
    ranks : (int, int)
        This process's rank and the number of processes.
    first : int
        The first step, counted from 0.
    """

    def __init__(self, store, settings, *, seed, ranks, first):
        self.store, self.settings, self.seed = store, settings, seed
        self.ranks, self.first = ranks, first

    def __len__(self):
        """Return how many steps are left."""
        return self.settings["max_steps"] - self.first

    def __getitem__(self, row: int):
        """Return a step's number and, for each of its batches, a store with its draw.

        An InputError is a value, since worker processes would reword it.
        """
        step, count = self.first + row, self.settings["accumulate_batches"]
        try:
            return step, [self.batch(step * count + part) for part in range(count)]
        except InputError as error:
            return error

    def batch(self, number: int):
        """Return the batch of a number: a store that holds its cubes, and the draw."""
        draw = draw_batch(
            self.store,
            self.settings,
            training_crop(self.settings),
            seed=self.seed,
            number=number,
            ranks=self.ranks,
        )
        return self.store.holding(draw)

    def loader(self, workers: int):
        """Return a DataLoader of the steps; worker processes only where cubes are streamed."""
        num_workers = max(1, workers) if isinstance(self.store, StreamedStore) else 0
        return torch.utils.data.DataLoader(
            self,
            batch_size=None,
            collate_fn=as_is,
            num_workers=num_workers,
            timeout=cubes_wait_s(num_workers),
            prefetch_factor=READ_AHEAD if num_workers else None,
            pin_memory=num_workers > 0 and torch.cuda.is_available(),
            worker_init_fn=start_worker,
        )


def learning_batch(store, draw, settings: dict) -> tuple:
    """Return what a network learns from in one batch, on the store's device.

    Returns
    -------
    inputs : float32 (batch, channels, z, y, x)
    target : float32 (batch, heads, z, y, x)
    counts : float32 (batch, heads, z, y, x)
        1 where a voxel is covered and its head has a reader, else 0.
    """
    inputs, readers, staple, counts = cut_batch(store, draw, training_crop(settings), settings)
    home = readers.device
    num_readers, reader = store.num_readers[draw.cube].to(home), draw.reader.to(home)
    target, has_reader = make_target(settings["target"], readers, staple, num_readers, reader)
    return inputs, target, counts[:, None].float() * has_reader


def as_is(item):
    """Return an item as the dataset gave it."""
    return item
