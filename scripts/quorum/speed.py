"""How a network computes: bf16, channels-last memory and torch.compile, and what was chosen.

What `auto` means is settled on the machine that computes and is written into the run's record.
"""

import contextlib
import functools
from dataclasses import asdict, dataclass

import torch


@dataclass
class Speed:
    """The choices, settled.

    Attributes
    ----------
    device : str
        `cpu` or `cuda`.
    precision : str
        `fp32` or `bf16` (mixed: weights and losses stay in fp32).
    is_channels_last, is_compiled : bool
    """

    device: str
    precision: str
    is_channels_last: bool
    is_compiled: bool

    def layout(self):
        """Return the memory format of five-dimensional tensors."""
        return torch.channels_last_3d if self.is_channels_last else torch.contiguous_format

    def mixed(self):
        """Return the context in which a network computes."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def guard(self, network):
        """Let a network that is about to be trained keep its long kernels out of bf16 on a CPU.

        A kernel that is longer than its input along an axis gets weight gradients there that were
        never computed (whatever the memory held), in torch 2.13's bf16 on AVX512-BF16, in either
        layout: tests/unit/test_network_runs.py compares every network's with those of fp32.
        """
        if self.device != "cpu":
            return
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
                module.forward = functools.partial(forward_exactly, module, module.forward)

    def compiled(self, network):
        """Return what is called for the network's output."""
        return torch.compile(network) if self.is_compiled else network

    def predictor(self, network):
        """Return a function from inputs to logits in float32."""

        def predict(inputs):
            with self.mixed():
                return network(inputs.contiguous(memory_format=self.layout())).float()

        return predict

    def as_record(self) -> dict:
        """Return the choices for a run's record."""
        return asdict(self)


def forward_exactly(module, forward, image, *args):
    """Return a convolution's output; in fp32 where its kernel is longer than its input."""
    lengths = [d * (k - 1) + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
    is_long = any(k > side for k, side in zip(lengths, image.shape[2:], strict=True))
    if not (is_long and torch.is_autocast_enabled("cpu")):
        return forward(image, *args)
    with torch.autocast("cpu", enabled=False):
        return forward(image.float(), *args)


def choose_speed(block: dict, device: str) -> Speed:
    """Return a plan's block `speed`, settled for a device.

    Parameters
    ----------
    block : dict
        precision (`auto`, `fp32`, `bf16`), is_channels_last and is_compiled (or `auto`).
    device : str
        `cpu` or `cuda`.
    """
    precision, is_channels_last = block["precision"], block["is_channels_last"]
    if precision == "auto":
        precision = "bf16" if has_fast_bf16(device) else "fp32"
    if is_channels_last == "auto":
        # Convolutions took 0.5 to 0.7 of the time on a CPU (tests/bench).
        # ASSUME: on a GPU it pays in bf16 alone, for tensor cores (PyTorch's channels-last page).
        is_channels_last = device == "cpu" or precision == "bf16"
    # A run settles `auto` by measuring (quorum.trials); what is only applied is not compiled.
    return Speed(device, precision, is_channels_last, block["is_compiled"] is True)


def has_fast_bf16(device: str) -> bool:
    """Tell whether a device multiplies bf16 faster than fp32.

    A CPU with AVX512-BF16 or AMX took 0.51 of the time for the default's step
    (tests/bench/bench_training.py); one that only emulates them gains nothing.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch has no public name for these two yet.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
