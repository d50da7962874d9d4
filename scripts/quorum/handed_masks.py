"""What is handed on of a nodule: its consensus and predictions of one experiment, as masks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from quorum.consensus import consensus_mask
from quorum.errors import InputError
from quorum.predictions import open_predictions
from quorum.run_files import run_file, run_name, some_shards
from quorum.shards import open_shards
from quorum.tables import read_table


@dataclass(frozen=True)
class Subject:
    """Whose mask it is.

    Attributes
    ----------
    label : str
        Readable, 64 characters at most; a phantom's says so.
    algorithm : str
        How it was made.
    is_model : bool
    """

    label: str
    algorithm: str
    is_model: bool


class Handed:
    """The nodules of one run, with their masks on the cubes' grids.

    Parameters
    ----------
    results : str or Path
        The results folder.
    experiment : str
    fold, seed : int
        Fold -1: the ensemble's predictions of the test part, whatever the seed.
    consensus : str
    """

    def __init__(self, results, experiment: str, *, fold: int, seed: int, consensus: str):
        path = run_file(results, "predict_cubes", experiment, name=f"{run_name(fold, seed)}.h5")
        self.cubes = open_shards(some_shards(results, "extract_cubes", ".h5"))
        self.consensus = consensus
        with open_predictions(path) as file:
            self.nodules = [str(name) for name in file["nodule_id"].asstr()]
            self.attributes = dict(file.attrs.items())
        self.path = path
        self.row_of = {str(name): k for k, name in enumerate(self.cubes.nodule_id)}
        self.refuse_strangers()

    def refuse_strangers(self):
        """Raise an InputError when predictions and cubes are of two cohorts."""
        strangers = [name for name in self.nodules if name not in self.row_of]
        kind = self.attributes["data_kind"]
        if strangers or kind != self.cubes.data_kind:
            which = f"the nodule {strangers[0]}" if strangers else f"{kind} data"
            raise InputError(
                f"{self.path} holds predictions of {which}, which the shards don't hold",
                f"predictions of the shards' own nodules ({self.cubes.data_kind} data)",
                "predict again with the rule predict_cubes",
            )

    @property
    def is_phantom(self) -> bool:
        """Whether there is no patient behind it."""
        return self.cubes.data_kind == "phantom"

    def subjects(self) -> list:
        """Return the two subjects: consensus and model."""
        mark = "PHANTOM " if self.is_phantom else ""
        run = f"{self.attributes['experiment']} fold {self.attributes['fold']}"
        run += f" seed {self.attributes['seed']}"
        if "num_members" in self.attributes:
            run = f"{self.attributes['experiment']}, {self.attributes['num_members']} runs together"
        return [
            Subject(f"{mark}consensus of readers", f"consensus {self.consensus}", False),
            Subject(f"{mark}{run}"[:64], run, True),
        ]

    def masks(self, nodule_id: str) -> list:
        """Return the masks of the subjects on the cube's grid, inside what is covered: bool."""
        k = self.row_of[nodule_id]
        covered = self.cubes.coverage(k) > 0
        staple = self.cubes.staple(k) if self.consensus == "staple" else None
        count = int(self.cubes.num_readers[k])
        consensus = consensus_mask(self.cubes.readers(k), count, staple, self.consensus)
        share = self.probability(nodule_id)
        return [consensus & covered, (share >= self.attributes["threshold"]) & covered]

    def probability(self, nodule_id: str) -> np.ndarray:
        """Return the model's probability from the click nearest to the centre: (z, y, x).

        Raises
        ------
        InputError
            When it is no number from 0 to 1.
        """
        with open_predictions(self.path) as file:
            column = int(np.argmin(file["offsets_mm"][()]))
            share = file["probability"][self.nodules.index(nodule_id), column].astype(np.float32)
        if not (np.isfinite(share).all() and share.min() >= 0 and share.max() <= 1):
            raise InputError(
                f"{self.path} holds what is no probability for the nodule {nodule_id}",
                "numbers from 0 to 1",
                "predict again with the rule predict_cubes",
            )
        return share

    def series_of(self, nodule_id: str) -> str:
        """Return the SeriesInstanceUID of the images that the nodule's cube was cut from."""
        return str(self.cubes.series_uid[self.row_of[nodule_id]])

    def chosen(self, wanted) -> list:
        """Return the nodules to hand on: all, or those wanted, by id or patient.

        Raises
        ------
        InputError
            When something wanted isn't there.
        """
        patients = {name: str(self.cubes.patient_id[self.row_of[name]]) for name in self.nodules}
        found = [n for n in self.nodules if not wanted or n in wanted or patients[n] in wanted]
        unknown = set(wanted or ()) - set(self.nodules) - set(patients.values())
        if unknown:
            raise InputError(
                f"{self.path} holds no nodule or patient {min(unknown)}",
                f"some of its {len(self.nodules)} nodules, such as {self.nodules[:1]}",
                "correct --nodules, or choose the fold that holds it",
            )
        return found


def series_rows(results, suffix: str, table: str) -> pd.DataFrame:
    """Return a table of check_series over all shards: series_slices or headers."""
    parts = [read_table(path, table) for path in some_shards(results, "check_series", suffix)]
    filled = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(filled, ignore_index=True)
