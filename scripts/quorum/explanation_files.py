"""Explanation files: one run's activation maps on the stored cubes' grid, in HDF5.

Attributes: schema `quorum-explanations`, schema_version, experiment, fold, seed, data_kind, methods
(in the maps' order), made_by (JSON).

    nodule_id  text     (n,)
    map        float16  (n, methods, z, y, x)  of the trained network, 0 to 1: scaled by its largest
                                               value; 0 outside the crop
    random     float16  likewise               of a network of the same kind with drawn weights
"""

import json
from dataclasses import dataclass

import h5py
import numpy as np

from quorum.errors import InputError

SCHEMA, SCHEMA_VERSION = "quorum-explanations", 1
CLASSIFIER = "classifier_"  # before a classifier's label, in place of an experiment's name
WORDS = {
    "grad_cam": "Grad-CAM",
    "cam": "class activation map",
    "occlusion": "occlusion",
}


def write_explanations(path, attributes: dict, *, nodule_id, found: dict):
    """Write a run's maps.

    Parameters
    ----------
    path : str or Path
        A temporary name of `quorum.files.write_whole`.
    attributes : dict
        experiment, fold, seed, data_kind, methods (list of str), made_by (dict).
    nodule_id : list of str
    found : dict
        `map` and `random`: float (n, methods, z, y, x).
    """
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        file.attrs.update(schema=SCHEMA, schema_version=SCHEMA_VERSION)
        for name, value in attributes.items():
            file.attrs[name] = json.dumps(value) if name in ("methods", "made_by") else value
        file["nodule_id"] = np.array(nodule_id, h5py.string_dtype("utf-8"))
        for name, values in found.items():
            chunks = (1, 1, *values.shape[2:]) if values.size else None
            packed = {"compression": "gzip", "shuffle": True} if values.size else {}
            data = np.asarray(values, np.float16)
            file.create_dataset(name, data=data, chunks=chunks, **packed)


@dataclass(frozen=True)
class Explanations:
    """One run's file of maps, read one nodule at a time.

    Attributes
    ----------
    path, experiment, data_kind : str
    fold, seed : int
    methods, nodule_id : list of str
    """

    path: str
    experiment: str
    data_kind: str
    fold: int
    seed: int
    methods: list
    nodule_id: list

    def of_nodule(self, nodule_id: str) -> list:
        """Return a nodule's maps: pairs of words and float32 (z, y, x); none of another one."""
        if nodule_id not in self.nodule_id:
            return []
        row, pairs = self.nodule_id.index(nodule_id), []
        with open_explanations(self.path) as file:
            for column, method in enumerate(self.methods):
                words = f"{WORDS[method]}, {self.experiment}"
                pairs.append((words, file["map"][row, column].astype(np.float32)))
                drawn = file["random"][row, column].astype(np.float32)
                pairs.append((f"{words}, drawn weights", drawn))
        return pairs


def read_explanations(path) -> Explanations:
    """Return the attributes and ids of one run's maps."""
    with open_explanations(path) as file:
        return Explanations(
            path=str(path),
            experiment=str(file.attrs["experiment"]),
            data_kind=str(file.attrs["data_kind"]),
            fold=int(file.attrs["fold"]),
            seed=int(file.attrs["seed"]),
            methods=json.loads(file.attrs["methods"]),
            nodule_id=file["nodule_id"].asstr()[()].tolist(),
        )


def open_explanations(path):
    """Return one run's open file, its schema checked.

    Raises
    ------
    InputError
        When it is missing, truncated, or of another schema.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise InputError(
            f"the explanations {path} can't be read ({str(error).splitlines()[0]})",
            "a whole HDF5 file made by explain_predictions",
            "remove it and run again",
        ) from error
    found = file.attrs.get("schema"), file.attrs.get("schema_version")
    if found != (SCHEMA, SCHEMA_VERSION):
        file.close()
        raise InputError(
            f"{path} is of schema {found[0]!r} version {found[1]}",
            f"{SCHEMA!r} version {SCHEMA_VERSION}",
            "make it again with the rule explain_predictions",
        )
    return file
