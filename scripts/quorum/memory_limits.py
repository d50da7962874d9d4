"""Out of memory: what was asked, what there is, and a bound below which the kernel kills nobody."""

import contextlib
import resource

import psutil
import torch

from quorum.errors import InputError
from quorum.plans import training_crop

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


def used_mb() -> int:
    """Return the memory that this process takes now [MiB]."""
    return psutil.Process().memory_info().rss // MEGABYTE


@contextlib.contextmanager
def memory_told(explain, *asked):
    """Let a block that runs out of memory, on a GPU or a CPU, end in one sentence.

    Parameters
    ----------
    explain : function
        `out_of_memory` or `no_room`.
    asked
        Its arguments before the error.

    Raises
    ------
    InputError
        Of `explain`; an error of another kind passes.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise explain(*asked, error) from error


def no_room(num_cubes: int, device: str, error) -> InputError:
    """Return an InputError that says what was to be held before the first step, and where."""
    free_mb, whole_mb = memory_mb(device)
    return InputError(
        f"memory ran out before the first step, while {num_cubes} cubes and the network were read "
        f"({str(error).splitlines()[0]})",
        f"room for them in the {device}'s memory ({free_mb} of {whole_mb} MiB free now)",
        "give the job more memory, or --loading workers, which holds no cube",
    )


def out_of_memory(settings: dict, device: str, error) -> InputError:
    """Return an InputError that says what a run asked for and what there is."""
    free_mb, whole_mb = memory_mb(device)
    crop, name = list(training_crop(settings)), settings["network"]["name"]
    return InputError(
        f"memory ran out in a run of {name} on {settings['batch_size']} crops of {crop} "
        f"({str(error).splitlines()[0]})",
        f"a run that fits into the {device}'s memory ({free_mb} of {whole_mb} MiB free now)",
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
