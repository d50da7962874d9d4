"""A 3D network that tells one number of a nodule, exactly the mean of the map that explains it."""

import math

import torch

from quorum.batches import cut_batch, draw_batch, plain_draw
from quorum.command import progress
from quorum.errors import InputError
from quorum.models import ModelFile, refuse_other_kind

# Its model holds label_rule, settings, fold, num_folds, seed, data_kind, weights, positive_weight,
# threshold and diameter (slope, intercept, threshold).
CLASSIFIER_FILE = ModelFile("quorum-classifier", 1, "train_classifier")
BATCH_OF_PREDICTION = 16


class Classifier(torch.nn.Module):
    """Residual convolutions, a linear head and global average pooling.

    The head, a convolution of 1 x 1 x 1, stands before the pooling: linear, it gives the same
    number there as behind it, and what is averaged is the class activation map plus the bias
    (Zhou 2016, 10.1109/CVPR.2016.319).

    Parameters
    ----------
    settings : dict
        channels, strides and dropout of the residual units.
    """

    def __init__(self, settings):
        super().__init__()
        from monai.networks.blocks import ResidualUnit

        widths = [1, *settings["channels"]]
        units = [
            ResidualUnit(3, given, made, strides=stride, norm="BATCH", act="RELU",
                         dropout=settings["dropout"])
            for given, made, stride in zip(widths, widths[1:], settings["strides"], strict=False)
        ]  # fmt: skip
        self.features = torch.nn.Sequential(*units)
        self.grow = torch.nn.Upsample(scale_factor=math.prod(settings["strides"]), mode="nearest")
        self.head = torch.nn.Conv3d(widths[-1], 1, 1)

    def forward(self, inputs):
        """Return the map that the logit is the mean of: (batch, 1, z, y, x), as the inputs."""
        return self.head(self.grow(self.features(inputs)))

    def logit(self, inputs):
        """Return the logit: (batch,). Repeating each voxel changes no mean, so none is repeated."""
        return self.head(self.features(inputs)).mean((1, 2, 3, 4))


def make_classifier(settings: dict, seed: int) -> Classifier:
    """Return the settings' network with weights drawn from the seed."""
    torch.manual_seed(seed)
    return Classifier(settings)


def check_settings(settings: dict, cube_vox):
    """Raise an InputError when a crop leaves the cube, or the network can't halve it."""
    crop, step = settings["crop_vox"], math.prod(settings["strides"])
    if len(settings["channels"]) != len(settings["strides"]):
        raise InputError(
            f"train_classifier has channels {settings['channels']} and strides "
            f"{settings['strides']}",
            "as many channels as strides",
            "correct one of the two",
        )
    outside = any(side > whole for side, whole in zip(crop, cube_vox, strict=True))
    if outside or any(side % step for side in crop):
        raise InputError(
            f"train_classifier.crop_vox {list(crop)} with the strides {settings['strides']}",
            f"multiples of {step} inside the cube {list(cube_vox)}",
            "change train_classifier.crop_vox or strides",
        )


@torch.no_grad()
def predict_logits(network, store, settings: dict) -> torch.Tensor:
    """Return the logits of the cubes' middle crops: float32 (n,), on the CPU."""
    network.eval()
    found = [
        network.logit(middle_crop(store, first, settings).to(device_of(network)))
        for first in range(0, len(store), BATCH_OF_PREDICTION)
    ]
    return torch.cat(found).float().cpu()


def middle_crop(store, first: int, settings: dict) -> torch.Tensor:
    """Return a batch's middle crops: float32 (batch, 1, z, y, x)."""
    rows = range(first, min(first + BATCH_OF_PREDICTION, len(store)))
    start = middle_start(store.cube_vox, settings)
    draw = plain_draw(list(rows), [start] * len(rows))
    return cut_batch(store, draw, settings["crop_vox"], settings)[0]


def middle_start(cube_vox, settings: dict) -> list:
    """Return the first voxel of the cube's middle crop, (z, y, x)."""
    return [(whole - side) // 2 for whole, side in zip(cube_vox, settings["crop_vox"], strict=True)]


def device_of(network):
    """Return the device of a network's weights."""
    return next(network.parameters()).device


def suspicion(logits, positive_weight: float):
    """Return probabilities: the logit, less what weighting the suspicious added, made a share."""
    return torch.sigmoid(logits - math.log(positive_weight)).numpy().astype(float)


def fit_classifier(stores, targets, settings: dict, *, seed: int, device: str) -> tuple:
    """Train a classifier; return the weights with the lowest validation loss and the history.

    Parameters
    ----------
    stores : (Store, Store)
        To train on and to validate on.
    targets : (float32 (n,), float32 (n,))
        1 suspicious, 0 unsuspicious.
    settings : dict
        Of the block train_classifier, with the changes of a batch of train_model.
    seed : int
    device : str

    Returns
    -------
    weights : dict
    positive_weight : float
    rows : list of dict
        step, loss, learning_rate, validation_loss (None between validations), validation_auroc.

    Raises
    ------
    InputError
        When the loss is no number.
    """
    from sklearn.metrics import roc_auc_score

    network = make_classifier(settings, seed).to(device)
    rate, steps = settings["learning_rate"], settings["max_steps"]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=rate, weight_decay=settings["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps + 1, cycle_momentum=False
    )
    weight = float((1 - targets[0]).sum() / targets[0].sum())
    entropy = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight))
    rows, best = [], (math.inf, None)
    for step in progress(range(steps), "steps"):
        row = {"step": step + 1, "learning_rate": schedule.get_last_lr()[0]}
        row["loss"] = do_step(network, optimizer, entropy, (stores[0], targets[0]),
                              settings=settings, batch=(seed, step))  # fmt: skip
        schedule.step()
        row |= {"validation_loss": None, "validation_auroc": None}
        if (step + 1) % settings["validate_every_steps"] == 0 or step + 1 == steps:
            logits = predict_logits(network, stores[1], settings)
            row["validation_loss"] = float(entropy(logits, targets[1]))
            row["validation_auroc"] = float(roc_auc_score(targets[1], logits))
            if row["validation_loss"] < best[0]:
                weights = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
                best = (row["validation_loss"], weights)
        rows.append(row)
    return best[1], weight, rows


def do_step(network, optimizer, entropy, data, *, settings: dict, batch: tuple) -> float:
    """Do one step on a batch that (seed, step) alone tells; return its loss."""
    store, targets = data
    crop, (seed, step) = settings["crop_vox"], batch
    draw = draw_batch(store, settings, crop, seed=seed, number=step)
    inputs = cut_batch(store, draw, crop, settings)[0].to(device_of(network))
    network.train()
    optimizer.zero_grad()
    loss = entropy(network.logit(inputs).cpu(), targets[draw.cube])
    loss.backward()
    optimizer.step()
    if not math.isfinite(float(loss.detach())):
        raise InputError(
            f"the loss became {float(loss.detach())} at step {step + 1}",
            "a finite number at every step",
            "lower train_classifier.learning_rate",
        )
    return float(loss.detach())


def fitted_classifier(model: dict) -> Classifier:
    """Return a fitted classifier's network, ready to be used."""
    network = Classifier(model["settings"])
    network.load_state_dict(model["weights"])
    return network.eval()


def refuse_other_run(model: dict, label: str, data_kind: str):
    """Raise an InputError unless a classifier is of this label and kind of images."""
    if model["label_rule"] != label:
        raise InputError(
            f"the classifier learned the label {model['label_rule']}, not {label}",
            "weights of this label's own network",
            "give the models of one label",
        )
    refuse_other_kind(model, data_kind)
