"""Out of memory: what was asked, what there is, and the largest batch that fits, by trying."""

import contextlib
import gc
import resource

import psutil
import torch

from quorum.errors import InputError
from quorum.losses import supervised_loss
from quorum.networks import NUM_INPUTS
from quorum.plans import training_crop
from quorum.targets import num_heads

SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "could not create a memory")
MEGABYTE = 2**20


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or a CPU."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def memory_mb(device: str) -> tuple:
    """Return the free and the whole memory of a device [MiB]."""
    if device == "cuda":
        free, whole = torch.cuda.mem_get_info()
    else:
        memory = psutil.virtual_memory()
        free, whole = memory.available, memory.total
    return free // MEGABYTE, whole // MEGABYTE


def out_of_memory(settings: dict, device: str, error) -> InputError:
    """Return an InputError that says what a step asked for and what there is."""
    free_mb, whole_mb = memory_mb(device)
    crop, name = list(training_crop(settings)), settings["network"]["name"]
    return InputError(
        f"memory ran out in a step of {name} on {settings['batch_size']} crops of {crop} "
        f"({str(error).splitlines()[0]})",
        f"a step that fits into the {device}'s memory ({free_mb} of {whole_mb} MiB free now)",
        "lower train_model.batch_size and raise accumulate_batches as much; the same command with "
        "--find-batch-size tries which one fits",
    )


@contextlib.contextmanager
def bounded_memory(limit_mb: int):
    """Let this process allocate at most so much more, so that the CPU's kernel kills nobody."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    own = psutil.Process().memory_info().vms
    highest = own + limit_mb * MEGABYTE
    if before[1] != resource.RLIM_INFINITY:
        highest = min(highest, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (highest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


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


def try_step(network, settings: dict, speed, size: int) -> bool:
    """Tell whether forward and backward of a batch of random numbers fit into memory."""
    shape = (size, NUM_INPUTS[settings["inputs"]], *training_crop(settings))
    heads = (size, num_heads(settings["target"]), *shape[2:])
    fits = False
    try:
        image = torch.rand(shape, device=speed.device).contiguous(memory_format=speed.layout())
        with speed.mixed():
            outputs = network(image)
        ones = torch.ones(heads, device=speed.device)
        supervised_loss(settings["losses"], outputs, ones, ones).backward()
        fits = True
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    network.zero_grad(set_to_none=True)
    gc.collect()
    if speed.device == "cuda":
        torch.cuda.empty_cache()
    return fits


def find_batch_size(network, settings: dict, speed, *, most: int, limit_mb=None) -> int:
    """Return the largest batch whose step fits, by trying sizes up to `most`.

    Parameters
    ----------
    network : torch.nn.Module
        On its device, in training mode.
    settings : dict
    speed : quorum.speed.Speed
    most : int
    limit_mb : int, optional
        What a CPU may use; without it, what is free.
    """
    if speed.device == "cuda":
        return largest_batch(lambda size: try_step(network, settings, speed, size), most)
    free_mb = memory_mb("cpu")[0]
    with bounded_memory(min(limit_mb or free_mb, free_mb)):
        return largest_batch(lambda size: try_step(network, settings, speed, size), most)
