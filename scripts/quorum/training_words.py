"""How an experiment was trained, in words from its settings."""

from quorum.patient_facts import UNKNOWN

NOTHING = "not reported"


def hardware_words(hardware: dict) -> str:
    """Return the machine of a training."""
    return f"{hardware.get('gpu') or hardware.get('processor', UNKNOWN)}"


def loss_words(losses: dict) -> str:
    """Return the losses that count, with their weights."""
    found = [f"{name} x {weight:g}" for name, weight in losses.items() if weight]
    return " + ".join(found).replace("_", " ") or NOTHING


def training_words(settings: dict) -> str:
    """Return how a network was trained, as one sentence."""
    optimizer = settings["optimizer"]
    crop = settings.get("training_crop_vox") or settings["crop_vox"]
    return (
        f"{settings['max_steps']} steps at most of {settings['batch_size']} crops of "
        f"{' x '.join(map(str, crop))} voxels (z, y, x), loss {loss_words(settings['losses'])}, "
        f"{optimizer['name']} with learning rate {optimizer['learning_rate']:g} and weight decay "
        f"{optimizer['weight_decay']:g}, random shifts and flips along "
        f"{', '.join(settings['flip_axes']) or 'no axis'}; the weights of the best validation Dice "
        "were kept."
    )


def regularization_words(settings: dict) -> str:
    """Return what kept a network from learning its nodules by heart; only what was switched on."""
    shift, intensity = settings["max_shift_vox"], settings["intensity"]
    optimizer, elastic = settings["optimizer"], settings["elastic"]["max_displacement_vox"]
    flips = ", ".join(settings["flip_axes"])
    found = {
        f"random shifts up to {' x '.join(map(str, shift))} voxels (z, y, x)": any(shift),
        f"random flips along {flips}": flips,
        f"HU shifted by up to {intensity['max_shift_hu']:g}": intensity["max_shift_hu"],
        f"HU scaled by up to {intensity['max_scale']:g}": intensity["max_scale"],
        f"noise of {intensity['noise_hu']:g} HU": intensity["noise_hu"],
        f"elastic displacements up to {elastic:g} voxels": elastic,
        f"end slices hidden, up to {settings['max_hidden_end_slices']}":
            settings["max_hidden_end_slices"],
        f"dropout {settings['network'].get('dropout') or 0:g}": settings["network"].get("dropout"),
        f"weight decay {optimizer['weight_decay']:g}": optimizer["weight_decay"],
        f"weights averaged over steps (decay {settings['ema_decay'] or 0:g})":
            settings["ema_decay"],
        f"stopped after {settings['patience_validations']} validations without gain":
            settings["patience_validations"],
    }  # fmt: skip
    return ", ".join(words for words, is_on in found.items() if is_on) or "none"
