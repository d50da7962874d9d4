"""The models' probabilities, read one nodule at a time."""

from dataclasses import dataclass

import h5py
import numpy as np

from quorum.errors import InputError
from quorum.shards import readable


@dataclass(frozen=True)
class Predictions:
    """One run's file of predictions; see `predict_cubes`.

    Attributes
    ----------
    path, experiment, data_kind : str
    fold, seed : int
    threshold : float
        Probability from which a voxel is inside, chosen on the validation fold.
    nodule_id : list of str
    offsets_mm : list of float
        Distances of the click from the centre.
    """

    path: str
    experiment: str
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
        with readable(self.path), h5py.File(self.path, "r", locking=False) as file:
            values = file["probability"][row, nearest].astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(
                f"{self.path} holds {int((~np.isfinite(values)).sum())} voxels of nodule "
                f"{nodule_id} that are no number",
                "a probability from 0 to 1 in every voxel",
                "train and predict the run again, with a smaller learning rate if it diverged",
            )
        return values


def open_predictions(path) -> Predictions:
    """Return the attributes and ids of one run's predictions.

    Raises
    ------
    InputError
        When the file can't be read or lacks an attribute or dataset.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            attributes = dict(file.attrs)
            return Predictions(
                path=str(path),
                experiment=str(attributes["experiment"]),
                fold=int(attributes["fold"]),
                seed=int(attributes["seed"]),
                data_kind=str(attributes["data_kind"]),
                threshold=float(attributes["threshold"]),
                nodule_id=file["nodule_id"].asstr()[()].tolist(),
                offsets_mm=[float(v) for v in file["offsets_mm"][()]],
            )
    except (OSError, KeyError) as error:
        raise InputError(
            f"the predictions {path} can't be read ({str(error).splitlines()[0]})",
            "an HDF5 file made by predict_cubes",
            "make it again with the rule predict_cubes",
        ) from error
