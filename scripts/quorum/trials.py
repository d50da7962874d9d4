"""Training steps on trial, apart from a run: which batch fits, and whether compiling pays."""

import copy
import gc
import math
import statistics
import time
from dataclasses import replace

import torch

from quorum.batches import draw_batch
from quorum.command import LOG
from quorum.losses import network_loss
from quorum.memory_limits import bounded_memory, is_out_of_memory, memory_mb, used_mb
from quorum.optimizers import make_optimizer
from quorum.plans import training_crop
from quorum.step_batches import learning_batch

# ASSUME: compiling takes about a minute, which fewer steps never win back (torch.compile's page).
MIN_STEPS_TO_COMPILE = 2000
# ASSUME: a compiled step has to take at most so much of the other's time (choice).
FASTER = 0.95
ROUNDS = 5


class Trial:
    """All that a step of training holds: weights, gradients, the optimizer's state, the average.

    Parameters
    ----------
    network : torch.nn.Module
        On its device; its weights are changed.
    settings : dict
        The plan's.
    store : quorum.stores.Store or StreamedStore
    speed : quorum.speed.Speed
    """

    def __init__(self, network, settings: dict, store, speed):
        self.network, self.settings = network.train(), settings
        self.store, self.speed = store, speed
        speed.guard(network)
        self.compute = speed.compiled(network)
        self.optimizer = make_optimizer(settings, network.parameters())
        has_average = settings["ema_decay"] > 0
        named = self.network.named_parameters() if has_average else ()
        self.average = {name: value.detach().clone() for name, value in named}

    def step(self, number: int, size: int):
        """Do the step of a number on batches of a size, as a run does; return its loss."""
        self.optimizer.zero_grad()
        count = self.settings["accumulate_batches"]
        # A third batch needs nothing that the second did not: gradients are there, and added to.
        losses = [self.backward(number * count + part, size) for part in range(min(count, 2))]
        most = self.settings["max_gradient_norm"] or math.inf
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), most)
        self.optimizer.step()
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                if name in self.average:
                    self.average[name].lerp_(value, 0.5)
        return sum(losses)

    def backward(self, number: int, size: int) -> float:
        """Add the gradients of one batch; return its loss."""
        settings = {**self.settings, "batch_size": size}
        crop_vox = training_crop(settings)
        draw = draw_batch(self.store, settings, crop_vox, seed=0, number=number)
        store, draw = self.store.holding(draw)
        batch = learning_batch(store.to(self.speed.device), draw, settings)
        options = {"losses": settings["losses"], "speed": self.speed}
        loss = network_loss(self.compute, self.network, batch, **options)
        loss.backward()
        return float(loss.detach())


def largest_batch(fits, most: int) -> int:
    """Return the largest size up to `most` for which `fits(size)` is true; 0 when none is.

    Doubles until one does not fit, then halves the gap.
    """
    good, bad = 0, most + 1
    size = 1
    while size < bad and fits(size):
        good, size = size, size * 2
    bad = min(bad, size)
    while bad - good > 1:
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def step_fits(trial: Trial, size: int) -> bool:
    """Tell whether steps on batches of a size fit into memory.

    Two: the optimizer's state is there from the second step on.
    """
    fits = False
    try:
        for number in range(2):
            trial.step(number, size)
        fits = True
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    trial.optimizer.zero_grad()
    gc.collect()
    if trial.speed.device == "cuda":
        torch.cuda.empty_cache()
    return fits


def find_batch_size(trial: Trial, *, most: int, limit_mb=None) -> int:
    """Return the largest batch whose step fits, by trying sizes up to `most`.

    Parameters
    ----------
    trial : Trial
    most : int
    limit_mb : int, optional
        What a CPU's process may use in all; without it, what is free.
    """
    if trial.speed.device == "cuda":
        return largest_batch(lambda size: step_fits(trial, size), most)
    free_mb = memory_mb("cpu")[0]
    left_mb = free_mb if limit_mb is None else min(limit_mb - used_mb(), free_mb)
    with bounded_memory(max(left_mb, 0)):
        return largest_batch(lambda size: step_fits(trial, size), most)


def measure_compiling(run) -> dict:
    """Return whether a compiled step is faster for a run, and the measured seconds of both.

    Only on a GPU, and only where the steps that are left may win back the time of compiling and
    weights need not be the same another time; measured on a copy, so that the run stays as it is.

    Parameters
    ----------
    run : quorum.training.Run
    """
    steps_left = run.settings["max_steps"] - run.state["step"]
    if (
        run.speed.device != "cuda"
        or steps_left < MIN_STEPS_TO_COMPILE
        or run.settings["is_deterministic"]
    ):
        return {"is_faster": False, "plain_step_s": None, "compiled_step_s": None}
    plain = step_seconds(run, is_compiled=False)
    try:
        compiled = step_seconds(run, is_compiled=True)
    except (RuntimeError, ImportError, OSError) as error:
        # No compiler, or a network that it refuses: the run goes on without, and says so.
        LOG.info("not compiled: %s", repr(error).splitlines()[0])
        return {"is_faster": False, "plain_step_s": plain, "compiled_step_s": None}
    is_faster = compiled <= FASTER * plain
    LOG.info("a step takes %.4f s, compiled %.4f s: %s", plain, compiled, is_faster)
    return {"is_faster": is_faster, "plain_step_s": plain, "compiled_step_s": compiled}


def step_seconds(run, *, is_compiled: bool) -> float:
    """Return the median seconds of a step on a copy of a run's network, after the first."""
    speed = replace(run.speed, is_compiled=is_compiled)
    network = copy.deepcopy(run.network).to(speed.device)
    trial, seconds = Trial(network, run.settings, run.train_store, speed), []
    for number in range(ROUNDS + 1):
        start = time.perf_counter()
        trial.step(number, run.settings["batch_size"])  # its loss is a number: the GPU is done
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])
