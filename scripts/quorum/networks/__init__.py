"""The registry of networks: one file of this folder is one network, its name is the file's.

A network file defines, and imports torch and monai only inside `build`:

    SOURCE    where the architecture was published
    KEYS      its own keys in the experiment's `network:` block, each with its default
    divisors(network) -> (z, y, x)    what each side of a crop must be a multiple of
    build(network, num_inputs, num_outputs) -> torch.nn.Module, logits of the input's size

and may define

    image_vox(network) -> (z, y, x)   the only size of a crop that it can use
    ONE_VOXEL         True where a crop may be one voxel on the deepest level: a normalisation
                      there has nothing to go by, so only networks without one can say so
    INPUTS            the only value of the plan's `inputs` that it can use
    WITHOUT_GRADIENT  patterns of a kept library's parameters that never get a gradient

A network with a method `own_loss(inputs, target, counts, losses)` is trained on that, and one with
`sample(inputs, generator)` gives several answers (see prob_unet).
"""

import importlib
from pathlib import Path

from quorum.closed_schema import nearest_phrase
from quorum.errors import InputError

FOLDER = Path(__file__).resolve().parent
# Channels of what a network sees: the image or the coverage; the image and its place (z, y, x).
NUM_INPUTS = {"image": 1, "coverage": 1, "position": 4}


def network_names() -> list:
    """Return the names of all networks, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def network_module(name: str):
    """Return the module of one network.

    Raises
    ------
    InputError
        When there is none of this name, with the nearest name.
    """
    if name not in network_names():
        raise InputError(
            f"the network {name!r} is unknown",
            nearest_phrase(name, network_names()),
            "correct network.name, or write that network's file in scripts/quorum/networks",
        )
    return importlib.import_module(f"quorum.networks.{name}")


def complete_network(network: dict) -> dict:
    """Return a `network:` block with its network's defaults for keys that it lacks.

    Raises
    ------
    InputError
        When the network or a key is unknown, with the nearest name.
    """
    if "name" not in network:
        raise InputError(
            "the network block has no name", f"one of {network_names()}", "set network.name"
        )
    module = network_module(network["name"])
    for key in network:
        if key not in ("name", *module.KEYS):
            raise InputError(
                f"the network {network['name']} has no key {key!r}",
                nearest_phrase(key, sorted(module.KEYS)),
                "correct its spelling or remove it",
            )
    return {**module.KEYS, **network}


def check_crop(network: dict, crop_vox):
    """Raise an InputError when the network can't halve a crop as often as it needs to.

    Or when it is made for another size, or the crop is but one voxel on the deepest level.
    """
    module, network = network_module(network["name"]), complete_network(network)
    divisors = module.divisors(network)
    pairs = zip(crop_vox, divisors, strict=True)
    if any(side % divisor or side < divisor for side, divisor in pairs):
        raise InputError(
            f"a crop of {list(crop_vox)} voxels can't be halved as {network['name']} needs",
            f"multiples of {list(divisors)} (z, y, x)",
            "change crop_vox, or give the network fewer levels",
        )
    if hasattr(module, "image_vox") and list(crop_vox) != list(module.image_vox(network)):
        raise InputError(
            f"a crop of {list(crop_vox)} voxels is not what {network['name']} is made for",
            f"its image_vox, {list(module.image_vox(network))}, for training too",
            "set network.image_vox to crop_vox, and training_crop_vox to the same or to null",
        )
    if list(crop_vox) == list(divisors) and not getattr(module, "ONE_VOXEL", False):
        raise InputError(
            f"a crop of {list(crop_vox)} voxels is one voxel on the deepest level of "
            f"{network['name']}, which normalises over several",
            f"at least twice {list(divisors)} (z, y, x) along one axis",
            "raise crop_vox or training_crop_vox, or give the network fewer levels",
        )


def check_inputs(network: dict, inputs: str):
    """Raise an InputError when the network can't use what it would see."""
    needed = getattr(network_module(network["name"]), "INPUTS", inputs)
    if inputs != needed:
        raise InputError(
            f"the network {network['name']} would see inputs: {inputs}",
            f"inputs: {needed}",
            "change train_model.inputs in the experiment",
        )


def build_network(network: dict, num_inputs: int, num_outputs: int):
    """Return the network that a `network:` block describes.

    Returns
    -------
    torch.nn.Module
        (batch, num_inputs, z, y, x) to logits (batch, num_outputs, z, y, x).
    """
    complete = complete_network(network)
    return network_module(network["name"]).build(complete, num_inputs, num_outputs)
