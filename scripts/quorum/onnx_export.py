"""Networks as ONNX files, held against PyTorch: the largest difference, and the time of both."""

import contextlib
import io
import logging
import time
import warnings

import numpy as np
import torch

from quorum.networks import NUM_INPUTS, build_network, network_module

NUM_TIMED = 3  # the shortest counts: other work on the machine only ever adds


class Outputs(torch.nn.Module):
    """A network that gives its logits and the mean probability of its heads."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        """Return logits (batch, heads, z, y, x) and probability (batch, 1, z, y, x)."""
        logits = self.network(image)
        return logits, torch.sigmoid(logits).mean(1, keepdim=True)


def fresh_network(name: str, seed: int = 0):
    """Return a network of the catalogue with drawn weights in evaluation mode, and its inputs."""
    torch.manual_seed(seed)
    num_inputs = NUM_INPUTS[getattr(network_module(name), "INPUTS", "image")]
    return build_network({"name": name}, num_inputs, 1).eval(), num_inputs


def write_onnx(network, path, shape):
    """Write a network for crops (inputs, z, y, x) as one ONNX file.

    Raises
    ------
    torch.onnx.OnnxExporterError
        When PyTorch's exporter can't express the network.
    """
    example = torch.zeros(1, *shape)
    # The exporter prints its steps, and warns of its own deprecations and of Python's versions.
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Outputs(network).eval(),
                (example,),
                path,
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=["image"],
                output_names=["logits", "probability"],
            )
    finally:
        logging.disable(level)


def open_session(path, threads: int):
    """Return onnxruntime's session of a file, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def compare_onnx(network, path, shape, *, threads: int = 1, seed: int = 0) -> dict:
    """Return how an ONNX file differs from its network on one drawn crop, and times.

    Returns
    -------
    dict
        max_difference_logit, max_difference_probability; torch_s, onnx_s (the shortest of three);
        speed_ratio (torch_s / onnx_s: above 1, ONNX is the faster).
    """
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    session = open_session(path, threads)
    outputs = Outputs(network).eval()

    def by_torch():
        with torch.inference_mode():
            return [output.numpy() for output in outputs(image)]

    def by_onnx():
        return session.run(None, {"image": image.numpy()})

    ours, torch_s = shortest(by_torch)
    theirs, onnx_s = shortest(by_onnx)
    largest = [float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)]
    return {
        "max_difference_logit": largest[0],
        "max_difference_probability": largest[1],
        "torch_s": torch_s,
        "onnx_s": onnx_s,
        "speed_ratio": torch_s / onnx_s,
    }


def shortest(run):
    """Return what `run` gives and its shortest time of three calls, in seconds."""
    times = []
    for _ in range(NUM_TIMED):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return result, min(times)


def export_reason(error: Exception) -> str:
    """Return in one line why an export failed: the innermost cause's first line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"[:300]
