"""The training loop: Lightning runs it, and the global step alone says what each step does.

Lightning's own resume within an epoch gives other data than an undisturbed run, so its loader
only hands out the numbers of the steps that are left; batches, dropout and the learning rate are
functions of that number, and the state between steps is kept by quorum.checkpoints.
"""

import math
import signal
import time

import lightning
import numpy as np
import torch

from quorum import validations
from quorum.batches import DROPOUT
from quorum.boards import Board
from quorum.checkpoints import newest_name, save_checkpoint
from quorum.energy import EnergyMeter
from quorum.errors import InputError
from quorum.losses import network_loss
from quorum.networks import NUM_INPUTS, build_network
from quorum.optimizers import learning_rate, make_optimizer
from quorum.pace import Pace
from quorum.speed import choose_speed
from quorum.step_batches import StepBatches, learning_batch
from quorum.targets import num_heads
from quorum.trials import measure_compiling

# ASSUME: a loss so many times the sum of its weights has exploded; each loss here starts near 1.
EXPLODED = 1000.0


def make_network(settings: dict, seed: int, device: str = "cpu"):
    """Return the plan's network with weights drawn from the seed, laid out for a device.

    It is in the CPU's memory.
    """
    torch.manual_seed(seed)
    num_inputs = NUM_INPUTS[settings["inputs"]]
    network = build_network(settings["network"], num_inputs, num_heads(settings["target"]))
    return network.to(memory_format=choose_speed(settings["speed"], device).layout())


class Run(lightning.LightningModule):
    """One run: the network, the cubes, and what has to outlive a kill.

    Parameters
    ----------
    settings : dict
        The plan's.
    seed : int
    stores : (train, validation)
        quorum.stores.Store or StreamedStore.
    folder : Path
        Of quorum.checkpoints.open_folder.
    state : dict or None
        A checkpoint to go on from.
    options : dict
        device (`cpu`, `cuda`), workers (processes that read streamed cubes), board (a folder for
        TensorBoard, or None).
    """

    automatic_optimization = False

    def __init__(self, settings, seed, *, stores, folder, state=None, options=None):
        super().__init__()
        self.settings, self.run_seed, self.folder = settings, seed, folder
        self.train_store, self.validation_store = stores
        self.options = {"device": "cpu", "workers": 0, "board": None, **(options or {})}
        self.speed = choose_speed(settings["speed"], self.options["device"])
        self.network, self.compiling = make_network(settings, seed, self.options["device"]), None
        self.speed.guard(self.network)
        self.state = state or {"step": 0, "history": [], "best": None, "num_worse": 0, "ema": None}
        if state:
            self.network.load_state_dict(state["network"])
        if settings["ema_decay"] > 0 and self.state["ema"] is None:
            self.state["ema"] = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.is_terminated = False
        self.earlier_s = self.state.get("spent_s", 0.0)
        self.pace = Pace(self.state["step"], settings["max_steps"])

    def setup(self, stage):
        """Move the cubes to this process's own device, once; settle whether to compile."""
        self.place_stores(self.trainer.strategy.root_device)
        if self.settings["speed"]["is_compiled"] == "auto":
            self.compiling = self.trainer.strategy.broadcast(measure_compiling(self))
            self.speed.is_compiled = self.compiling["is_faster"]
        compiled = self.speed.compiled(self.network)
        # In a closure: Lightning would take a compiled module's weights for more weights.
        self.compute = lambda inputs: compiled(inputs)

    def place_stores(self, device):
        """Keep the cubes on a device."""
        stores = (self.train_store, self.validation_store)
        self.train_store, self.validation_store = (store.to(device) for store in stores)

    def configure_optimizers(self):
        """Return the optimizer, in the checkpoint's state where there is one."""
        optimizer = make_optimizer(self.settings, self.network.parameters())
        if "optimizer" in self.state:
            optimizer.load_state_dict(self.state.pop("optimizer"))
        return optimizer

    def train_dataloader(self):
        """Return the steps that are left."""
        ranks, first = (self.global_rank, self.trainer.world_size), self.state["step"]
        options = {"seed": self.run_seed, "ranks": ranks, "first": first}
        steps = StepBatches(self.train_store, self.settings, **options)
        return steps.loader(self.options["workers"])

    def transfer_batch_to_device(self, batch, device, dataloader_idx):
        """Leave a step as it is: its cubes go to the device when they are cut."""
        return batch

    def on_train_start(self):
        """Take SIGTERM over from Lightning: finish the step, write a checkpoint, stop."""
        signal.signal(signal.SIGTERM, self.on_sigterm)
        if validations.is_due(self.state, self.settings):
            self.validate()  # the run that wrote the checkpoint was ended before or within it
        is_first = self.global_rank == 0
        self.board = Board(self.options["board"] if is_first else None, self.state["history"])
        self.meter = EnergyMeter(self.options["device"])

    def on_train_end(self):
        """Write the rest for TensorBoard."""
        self.board.close()

    def on_sigterm(self, *_):
        """Remember that the job was told to end."""
        self.is_terminated = True

    def training_step(self, batch, _):
        """Do one step: as many batches as are accumulated, one update, one row of history."""
        if isinstance(batch, InputError):
            raise batch
        (step, pairs), started = batch, time.monotonic()
        optimizer = self.optimizers()
        rate = learning_rate(self.settings, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        losses = [
            self.backward_batch(step * len(pairs) + part, *pair) / len(pairs)
            for part, pair in enumerate(pairs)
        ]
        loss = self.mean_of_ranks(sum(losses))
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.settings["max_gradient_norm"] or math.inf
        )
        if not torch.isfinite(norm):
            self.refuse("the gradient", float(norm), step, pairs)
        optimizer.step()
        self.update_average(step)
        duration_s = time.monotonic() - started
        row = [step + 1, self.epoch_of(step), loss, rate, None, duration_s]
        self.state["history"].append(row)
        self.state["step"] = step + 1

    def epoch_of(self, step: int) -> int:
        """Return how often all nodules were visited before a step, counted from 0."""
        size = self.settings["accumulate_batches"] * self.settings["batch_size"]
        return step * size * self.trainer.world_size // len(self.train_store)

    def backward_batch(self, number: int, store, draw) -> float:
        """Add the gradients of one batch; return its loss.

        Raises
        ------
        InputError
            When the loss is not finite or has exploded.
        """
        store = store.to(self.device)
        batch = learning_batch(store, draw, self.settings)
        torch.manual_seed(dropout_seed(self.run_seed, number, self.global_rank))
        options = {"losses": self.settings["losses"], "speed": self.speed}
        loss = network_loss(self.compute, self.network, batch, **options)
        value = float(loss.detach())
        if not abs(value) <= EXPLODED * sum(self.settings["losses"].values()):
            num_batches = self.settings["accumulate_batches"]
            self.refuse("the loss", value, number // num_batches, [(store, draw)])
        self.manual_backward(loss / self.settings["accumulate_batches"])
        return value

    def mean_of_ranks(self, loss: float) -> float:
        """Return the mean loss over all processes."""
        if self.trainer.world_size == 1:
            return loss
        value = torch.tensor(loss, device=self.device)
        return float(self.trainer.strategy.reduce(value, reduce_op="mean"))

    def refuse(self, what: str, value: float, step: int, pairs: list):
        """Raise an InputError that says where a number stopped being one, or became too large."""
        names = {store.nodule_id[k] for store, draw in pairs for k in draw.cube.tolist()}
        raise InputError(
            f"{what} became {value} at step {step + 1} on the nodules {', '.join(sorted(names))}",
            "a finite number, and a loss that does not explode, at every step",
            "lower optimizer.learning_rate or look at these nodules' cubes (last good checkpoint: "
            f"{newest_name(self.folder)})",
        )

    def update_average(self, step: int):
        """Move the average of the weights towards the weights."""
        average = self.state["ema"]
        if average is None:
            return
        # ASSUME: the average forgets its start: decay (1 + step) / (10 + step) until it is reached
        # (Polyak averaging with warm-up, as in TensorFlow's ExponentialMovingAverage).
        decay = min(self.settings["ema_decay"], (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in self.network.named_parameters():
                average[name] = average[name].to(value.device).lerp_(value, 1 - decay)

    def current_weights(self) -> dict:
        """Return a copy of the weights that would be kept now: averaged where asked for.

        A network may hold a parameter under several names (MONAI's DynUNet does); its average is
        kept under the first, and all of them get the same copy.
        """
        average = self.state["ema"] or {}
        first = {id(value): name for name, value in self.network.named_parameters()}
        # The average of a checkpoint lies in the CPU's memory until the first step.
        home, copies, weights = next(self.network.parameters()).device, {}, {}
        for name, value in self.network.state_dict(keep_vars=True).items():
            own = first.get(id(value), name)
            if own not in copies:
                copies[own] = average.get(own, value).detach().to(home, copy=True)
            weights[name] = copies[own]
        return weights

    def on_train_batch_end(self, *_):
        """Validate, write a checkpoint and log, each when it is due."""
        step, is_saved = self.state["step"], self.is_checkpoint_due()
        if is_saved:
            self.save()
        is_validated = validations.is_due(self.state, self.settings)
        if is_validated:
            self.validate()
        else:
            self.end_when_told()
        if is_validated or (self.is_terminated and not is_saved):
            self.save()
        self.board.add(self.state["history"][-1])
        self.pace.log(step, self.state["history"][-1][2])

    def is_checkpoint_due(self) -> bool:
        """Tell whether it is the turn of the last step, or the next one begins another epoch."""
        step = self.state["step"]
        is_turn = step % self.settings["checkpoint_every_steps"] == 0
        return is_turn or self.epoch_of(step) > self.epoch_of(step - 1)

    def save(self):
        """Write a checkpoint, in the first process alone."""
        if self.global_rank == 0:
            save_checkpoint(self.folder, self.state["step"], self.full_state())

    def validate(self):
        """Score the weights; the first process's Dice is what all go by, so that all end at once.

        On a GPU two processes may differ in its last digits.
        """
        dice = self.trainer.strategy.broadcast(validations.score(self))
        validations.keep(self, dice)
        self.end_when_told()

    def end_when_told(self):
        """Let this step be the last where a signal came, or nothing has got better for long."""
        # Told to one process is told to all: none may wait for another that has ended.
        decide = self.trainer.strategy.reduce_boolean_decision
        self.is_terminated = decide(self.is_terminated, all=False)
        if self.is_terminated or validations.is_stalled(self.state, self.settings):
            self.trainer.should_stop = True

    def full_state(self) -> dict:
        """Return all that a resumed run needs."""
        optimizer, spent_j = self.optimizers().optimizer, self.meter.spent_j()
        if spent_j is not None:
            self.state["energy_j"] = self.state.get("energy_j", 0.0) + spent_j
        return {
            **self.state,
            "spent_s": self.earlier_s + time.monotonic() - self.pace.started_at,
            "network": self.network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }


def dropout_seed(seed: int, number: int, rank: int) -> int:
    """Return the seed of what a network draws by itself in one batch."""
    return int(np.random.SeedSequence([seed, number, rank, DROPOUT]).generate_state(1)[0])
