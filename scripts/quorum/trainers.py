"""Lightning's trainer for a run: one process or many, CPUs or GPUs, one machine or several."""

import logging
import os
import warnings

import lightning
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.strategies import DDPStrategy

from quorum import validations
from quorum.networks import network_module
from quorum.waits import PEERS, lost_processes_told


def fit(run, *, devices: int = 1, nodes: int = 1):
    """Train until the last step, an early stop, or SIGTERM; a finished run is left as it is.

    Parameters
    ----------
    run : quorum.training.Run
    devices : int
        GPUs on each machine; without a GPU, processes.
    nodes : int
        Machines.
    """
    if run.state["step"] >= run.settings["max_steps"]:
        if validations.is_due(run.state, run.settings):
            run.place_stores(run.options["device"])
            run.network.to(run.options["device"])
            validations.keep(run, validations.score(run))
        return
    if validations.is_stalled(run.state, run.settings):
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # The loader hands out numbers, so workers would only cost time.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Snakemake's executor starts the job's processes; a machine that has srun changes nothing.
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
        # Lightning's own use of torch, nothing of ours.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer = lightning.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            strategy=choose_strategy(run.settings["network"]["name"], devices * nodes),
            devices=devices,
            num_nodes=nodes,
            max_epochs=1,
            plugins=[choose_environment()],
            deterministic=run.settings["is_deterministic"],
            default_root_dir=run.folder,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with lost_processes_told():
            trainer.fit(run)


def choose_strategy(network: str, num_processes: int):
    """Return how processes share their gradients: not at all when there is one, else DDP.

    Some kept libraries' networks hold parameters that never get a gradient; DDP has to look for
    them, which costs time, so only where a network says so.
    """
    if num_processes == 1:
        return "auto"
    dead = getattr(network_module(network), "WITHOUT_GRADIENT", ())
    return DDPStrategy(find_unused_parameters=bool(dead), timeout=PEERS)


def choose_environment():
    """Return how processes find each other.

    One task of SLURM starts its processes by Lightning's own launcher; several are processes.
    """
    on_slurm = SLURMEnvironment.detect() and int(os.environ.get("SLURM_NTASKS", "1")) > 1
    return SLURMEnvironment(auto_requeue=False) if on_slurm else LightningEnvironment()
