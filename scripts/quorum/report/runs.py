"""The runs' predictions, read one nodule at a time."""

from dataclasses import dataclass

import numpy as np

from quorum.errors import InputError
from quorum.predictions import open_predictions
from quorum.shards import readable


@dataclass(frozen=True)
class Run:
    """One run's file of predictions; see quorum/predictions.py.

    Attributes
    ----------
    path, experiment, method, data_kind : str
    fold, seed : int
    threshold : float
        Probability from which a voxel is inside, chosen on the validation fold.
    nodule_id : list of str
    offsets_mm : list of float
        Distances of the click from a reader's centre.
    """

    path: str
    experiment: str
    method: str
    fold: int
    seed: int
    data_kind: str
    threshold: float
    nodule_id: list
    offsets_mm: list

    @property
    def label(self) -> str:
        """The run's name."""
        return f"{self.experiment}, fold {self.fold}, seed {self.seed}"

    def probability(self, nodule_id: str) -> np.ndarray:
        """Return the probability for the click nearest to the centre: float32 (z, y, x).

        Raises
        ------
        InputError
            When a value is no number.
        """
        row = self.nodule_id.index(nodule_id)
        nearest = int(np.argmin(self.offsets_mm))
        with readable(self.path), open_predictions(self.path) as file:
            values = file["probability"][row, nearest].astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(
                f"{self.path} holds {int((~np.isfinite(values)).sum())} voxels of nodule "
                f"{nodule_id} that are no number",
                "a probability from 0 to 1 in every voxel",
                "train and predict the run again, with a smaller learning rate if it diverged",
            )
        return values


def read_run(path) -> Run:
    """Return the attributes and ids of one run's predictions.

    Raises
    ------
    InputError
        When the file can't be read or is of another schema.
    """
    with open_predictions(path) as file:
        attributes = dict(file.attrs)
        return Run(
            path=str(path),
            experiment=str(attributes["experiment"]),
            method=str(attributes["method"]),
            fold=int(attributes["fold"]),
            seed=int(attributes["seed"]),
            data_kind=str(attributes["data_kind"]),
            threshold=float(attributes["threshold"]),
            nodule_id=file["nodule_id"].asstr()[()].tolist(),
            offsets_mm=[float(v) for v in file["offsets_mm"][()]],
        )
