"""Optimizers, and the learning rate as a function of the step."""

import math

import torch


def learning_rate(settings: dict, step: int) -> float:
    """Return the learning rate of a step (counted from 0): warm-up, then the schedule."""
    highest, schedule = settings["optimizer"]["learning_rate"], settings["schedule"]
    warmup = min(schedule["warmup_steps"], settings["max_steps"] // 2)
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, settings["max_steps"] - warmup)
    if schedule["name"] == "cosine":
        return highest * 0.5 * (1 + math.cos(math.pi * done))
    if schedule["name"] == "polynomial":
        # ASSUME: the exponent 0.9 (Isensee 2021, 10.1038/s41592-020-01008-z).
        return highest * (1 - done) ** 0.9
    return highest


def make_optimizer(settings: dict, parameters):
    """Return the optimizer that the settings name; its learning rate is set at each step."""
    block = settings["optimizer"]
    options = {"lr": block["learning_rate"], "weight_decay": block["weight_decay"]}
    if block["name"] == "sgd":
        return torch.optim.SGD(parameters, momentum=0.99, nesterov=True, **options)
    return torch.optim.AdamW(parameters, **options)
