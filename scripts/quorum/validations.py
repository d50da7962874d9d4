"""Validation within training: when it is due, its score, the weights that are kept, and the end.

A validation may last minutes, and a job that is told to end has seconds: it is left at the next
batch then, and made up for by whoever goes on from the checkpoint.
"""

import functools
import logging

import torch

from quorum.evaluation import mean_dice

LOG = logging.getLogger("quorum")
HALF = 0.5
DICE = 4  # its column in a row of the history


class ToldToEnd(Exception):
    """A validation was left because the job was told to end."""


def is_due(state: dict, settings: dict) -> bool:
    """Tell whether the last step is to be validated and was not."""
    step = state["step"]
    is_turn = step % settings["validate_every_steps"] == 0 or step == settings["max_steps"]
    return step > 0 and is_turn and state["history"][-1][DICE] is None


def score(run):
    """Return the weights' mean Dice on the validation fold; None when told to end within it.

    Parameters
    ----------
    run : quorum.training.Run
    """
    call = functools.partial(torch.func.functional_call, run.network, run.current_weights())
    predictor = run.speed.predictor(call)

    def predict(inputs):
        if run.is_terminated:
            raise ToldToEnd
        return predictor(inputs)

    run.network.eval()
    try:
        return mean_dice(predict, run.validation_store, run.settings, HALF)
    except ToldToEnd:
        return None
    finally:
        run.network.train()


def keep(run, dice):
    """Note a validation's Dice, and keep the weights when they are the best so far.

    Parameters
    ----------
    run : quorum.training.Run
    dice : float or None
        The same in every process; None notes nothing.
    """
    if dice is None:
        return
    state = run.state
    state["history"][-1][DICE] = dice
    # ASSUME: the weights kept are those with the best Dice on the validation fold.
    if state["best"] is None or dice > state["best"]["dice"]:
        weights = {name: value.cpu() for name, value in run.current_weights().items()}
        state["best"] = {"dice": dice, "step": state["step"], "weights": weights}
        state["num_worse"] = 0
    else:
        state["num_worse"] += 1
    LOG.info("step %d: Dice %.4f on the validation fold", state["step"], dice)


def is_stalled(state: dict, settings: dict) -> bool:
    """Tell whether so many validations brought nothing better that the run may end."""
    patience = settings["patience_validations"]
    return patience is not None and state["num_worse"] >= patience
