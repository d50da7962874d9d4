"""The training loop: Lightning runs it, and the global step alone says what each step does.

Lightning's own resume within an epoch gives other data than an undisturbed run, so its loader
only hands out the numbers of the steps that are left; batches, dropout and the learning rate are
functions of that number, and the state between steps is kept by quorum.checkpoints.
"""

import functools
import logging
import os
import signal
import time
import warnings

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from quorum.batches import DROPOUT, cut_batch, draw_batch
from quorum.checkpoints import newest_name, save_checkpoint
from quorum.command import PROGRESS_EVERY_S
from quorum.errors import InputError
from quorum.evaluation import mean_dice
from quorum.losses import total_loss
from quorum.networks import build_network
from quorum.optimizers import learning_rate, make_optimizer
from quorum.plans import training_crop
from quorum.targets import make_target, num_heads

LOG = logging.getLogger("quorum")
HALF = 0.5


def make_network(settings: dict, seed: int):
    """Return the plan's network with weights drawn from the seed, channels last in memory."""
    torch.manual_seed(seed)
    network = build_network(settings["network"], 1, num_heads(settings["target"]))
    # Convolutions on channels-last memory took 0.5 to 0.7 of the time here (tests/bench).
    return network.to(memory_format=torch.channels_last_3d)


class Run(lightning.LightningModule):
    """One run: the network, the cubes, and what has to outlive a kill.

    Parameters
    ----------
    settings : dict
        The plan's.
    seed : int
    train, validation : quorum.batches.Store
    folder : Path
        Of quorum.checkpoints.open_folder.
    state : dict or None
        A checkpoint to go on from.
    """

    automatic_optimization = False

    def __init__(self, settings, seed, *, train, validation, folder, state=None):
        super().__init__()
        self.settings, self.run_seed, self.folder = settings, seed, folder
        self.train_store, self.validation_store = train, validation
        self.network = make_network(settings, seed)
        self.state = state or {"step": 0, "history": [], "best": None, "num_worse": 0, "ema": None}
        if state:
            self.network.load_state_dict(state["network"])
        if settings["ema_decay"] > 0 and self.state["ema"] is None:
            self.state["ema"] = {k: v.detach().clone() for k, v in self.network.named_parameters()}
        self.is_terminated = False
        self.logged_at = self.started_at = time.monotonic()
        self.first_step = self.state["step"]

    def configure_optimizers(self):
        """Return the optimizer, in the checkpoint's state where there is one."""
        optimizer = make_optimizer(self.settings, self.network.parameters())
        if "optimizer" in self.state:
            optimizer.load_state_dict(self.state.pop("optimizer"))
        return optimizer

    def train_dataloader(self):
        """Return the numbers of the steps that are left."""
        left = range(self.state["step"], self.settings["max_steps"])
        return torch.utils.data.DataLoader(left, batch_size=None)

    def on_train_start(self):
        """Take SIGTERM over from Lightning: finish the step, write a checkpoint, stop."""
        signal.signal(signal.SIGTERM, self.on_sigterm)

    def on_sigterm(self, *_):
        """Remember that the job was told to end."""
        self.is_terminated = True

    def training_step(self, step, _):
        """Do one step: as many batches as are accumulated, one update, one row of history."""
        step, started = int(step), time.monotonic()
        optimizer = self.optimizers()
        rate = learning_rate(self.settings, step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        num_batches = self.settings["accumulate_batches"]
        losses = [
            self.backward_batch(step * num_batches + part) / num_batches
            for part in range(num_batches)
        ]
        if self.settings["max_gradient_norm"]:
            torch.nn.utils.clip_grad_norm_(
                self.network.parameters(), self.settings["max_gradient_norm"]
            )
        optimizer.step()
        self.update_average(step)
        num_visits = step * num_batches * self.settings["batch_size"] * self.trainer.world_size
        epoch = num_visits // len(self.train_store)
        duration_s = time.monotonic() - started
        self.state["history"].append([step + 1, epoch, sum(losses), rate, None, duration_s])
        self.state["step"] = step + 1

    def backward_batch(self, number: int) -> float:
        """Add the gradients of one batch; return its loss.

        Raises
        ------
        InputError
            When the loss is not finite: the step, the nodules, and the last good checkpoint.
        """
        ranks = (self.global_rank, self.trainer.world_size)
        crop_vox = training_crop(self.settings)
        draw = draw_batch(
            self.train_store,
            self.settings,
            crop_vox,
            seed=self.run_seed,
            number=number,
            ranks=ranks,
        )
        inputs, readers, staple, counts = cut_batch(self.train_store, draw, crop_vox, self.settings)
        target, has_reader = make_target(
            self.settings["target"],
            readers,
            staple,
            self.train_store.num_readers[draw.cube.to(readers.device)],
            draw.reader.to(readers.device),
        )
        torch.manual_seed(dropout_seed(self.run_seed, number, self.global_rank))
        logits = self.network(inputs.contiguous(memory_format=torch.channels_last_3d))
        loss = total_loss(
            self.settings["losses"], logits, target, counts[:, None].float() * has_reader
        )
        if not torch.isfinite(loss):
            self.refuse_loss(float(loss.detach()), number, draw)
        self.manual_backward(loss / self.settings["accumulate_batches"])
        return float(loss.detach())

    def refuse_loss(self, loss, number, draw):
        """Raise an InputError that says where the loss stopped being a number."""
        names = ", ".join(sorted({self.train_store.nodule_id[k] for k in draw.cube.tolist()}))
        step = number // self.settings["accumulate_batches"] + 1
        raise InputError(
            f"the loss became {loss} at step {step} on the nodules {names}",
            "a finite loss at every step",
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
        """Return a copy of the weights that would be kept now: averaged where asked for."""
        weights = {**self.network.state_dict(), **(self.state["ema"] or {})}
        return {name: value.detach().clone() for name, value in weights.items()}

    def on_train_batch_end(self, *_):
        """Validate, write a checkpoint and log, each when it is due."""
        step, last = self.state["step"], self.state["step"] == self.settings["max_steps"]
        if step % self.settings["validate_every_steps"] == 0 or last:
            self.validate()
        # Told to one process is told to all: none may wait for another that has ended.
        decide = self.trainer.strategy.reduce_boolean_decision
        self.is_terminated = decide(self.is_terminated, all=False)
        is_due = step % self.settings["checkpoint_every_steps"] == 0
        is_validated = self.state["history"][-1][4] is not None
        if (is_due or is_validated or self.is_terminated) and self.global_rank == 0:
            save_checkpoint(self.folder, step, self.full_state())
        self.log_progress()
        if self.is_terminated or self.is_stalled():
            self.trainer.should_stop = True

    def validate(self):
        """Score the weights on the validation fold and keep them when they are the best so far."""
        weights = self.current_weights()
        self.network.eval()
        predict = functools.partial(torch.func.functional_call, self.network, weights)
        dice = mean_dice(predict, self.validation_store, self.settings, HALF)
        self.network.train()
        self.state["history"][-1][4] = dice
        best = self.state["best"]
        # ASSUME: the weights kept are those with the best Dice on the validation fold.
        if best is None or dice > best["dice"]:
            weights = {name: value.cpu() for name, value in weights.items()}
            self.state["best"] = {"dice": dice, "step": self.state["step"], "weights": weights}
            self.state["num_worse"] = 0
        else:
            self.state["num_worse"] += 1
        LOG.info("step %d: Dice %.4f on the validation fold", self.state["step"], dice)

    def is_stalled(self) -> bool:
        """Tell whether so many validations brought nothing better that the run may end."""
        patience = self.settings["patience_validations"]
        return patience is not None and self.state["num_worse"] >= patience

    def full_state(self) -> dict:
        """Return all that a resumed run needs."""
        optimizer = self.optimizers().optimizer
        return {
            **self.state,
            "network": self.network.state_dict(),
            "optimizer": optimizer.state_dict(),
        }

    def log_progress(self):
        """Log step, loss, steps a second and the time left, at most every 10 s."""
        now, step = time.monotonic(), self.state["step"]
        if now - self.logged_at < PROGRESS_EVERY_S:
            return
        self.logged_at = now
        pace = (step - self.first_step) / (now - self.started_at)
        LOG.info(
            "step %d of %d, loss %.4f, %.2f steps/s, about %.0f s left",
            step,
            self.settings["max_steps"],
            self.state["history"][-1][2],
            pace,
            (self.settings["max_steps"] - step) / pace,
        )


def dropout_seed(seed: int, number: int, rank: int) -> int:
    """Return the seed of what a network draws by itself in one batch."""
    return int(np.random.SeedSequence([seed, number, rank, DROPOUT]).generate_state(1)[0])


def fit(run: Run, *, devices: int = 1, nodes: int = 1):
    """Train until the last step, an early stop, or SIGTERM; a finished run is left as it is."""
    if run.state["step"] >= run.settings["max_steps"] or run.is_stalled():
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The loader hands out numbers, so workers would only cost time.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Snakemake's executor starts the job's processes; a machine that has srun changes nothing.
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
        # Lightning's own use of torch, nothing of ours.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # One task of SLURM starts its processes by Lightning's own launcher; several are processes.
        on_slurm = SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1
        plugin = SLURMEnvironment(auto_requeue=False) if on_slurm else LightningEnvironment()
        trainer = lightning.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=devices,
            num_nodes=nodes,
            max_epochs=1,
            plugins=[plugin],
            deterministic=run.settings["is_deterministic"],
            default_root_dir=run.folder,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(run)
