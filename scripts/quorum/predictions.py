"""Prediction files: one run's probabilities on the stored cubes' grid, in HDF5.

Attributes: schema `quorum-predictions`, schema_version, experiment, fold, seed, part, data_kind,
threshold (probability) and postprocess (already done; see quorum.postprocessing), both chosen on
the validation fold, method, made_by (JSON). The answer is where probability >= threshold.

    nodule_id      text     (n,)
    offsets_mm     float64  (offsets,)              distance of the click from a reader's centre
    click_zyx_vox  float64  (n, offsets, 3)         in voxels of the stored cube
    inside_crop    int16    (n, offsets, 6)         z0 y0 x0 z1 y1 x1: what the model saw, half-open
    probability    float16  (n, offsets, z, y, x)   on the stored cube's grid, 0 outside that
    samples        uint8    (n, samples, z, y, x)   only of a model that draws: its masks, 0 or 1,
                                                    from the first click

An ensemble's file is `ensemble.h5`: part `test`, fold and seed -1; further attributes num_members,
seeds (int64) and analysis_plan_sha256, of the plan that was frozen before.
"""

import json

import h5py
import numpy as np

from quorum.errors import InputError

SCHEMA, SCHEMA_VERSION = "quorum-predictions", 1
ATTRIBUTES = (
    "experiment",
    "fold",
    "seed",
    "part",
    "data_kind",
    "threshold",
    "postprocess",
    "method",
    "made_by",
)
# ASSUME: probabilities below 0.001 are stored as 0 (float16 noise that would not compress).
SMALLEST = 1e-3


class PredictionsWriter:
    """Writes the nodules of one run in order; use it as a context.

    Parameters
    ----------
    path : str or Path
        A temporary name of `quorum.files.write_whole`.
    attributes : dict
        Every one of ATTRIBUTES; made_by is a dict, and postprocess may be left out for `none`.
    nodule_id : list of str
    offsets_mm : list of float
    cube_vox : tuple of int
    num_samples : int
        Masks that the model draws for each nodule; 0 for a model that doesn't.
    """

    def __init__(self, path, attributes: dict, *, nodule_id, offsets_mm, cube_vox, num_samples=0):
        attributes = {"postprocess": "none", **attributes}
        if sorted(attributes) != sorted(ATTRIBUTES):
            raise ValueError(f"attributes {sorted(attributes)} are not {sorted(ATTRIBUTES)}")
        self.file = h5py.File(path, "w", libver=("earliest", "v110"))
        self.file.attrs.update(schema=SCHEMA, schema_version=SCHEMA_VERSION)
        for name, value in attributes.items():
            self.file.attrs[name] = (
                json.dumps(value, sort_keys=True) if name == "made_by" else value
            )
        size = (len(nodule_id), len(offsets_mm))
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        self.file["nodule_id"] = np.array(nodule_id, h5py.string_dtype("utf-8"))
        self.file["offsets_mm"] = np.asarray(offsets_mm, np.float64)
        self.file.create_dataset("click_zyx_vox", (*size, 3), np.float64)
        self.file.create_dataset("inside_crop", (*size, 6), np.int16)
        self.file.create_dataset(
            "probability",
            (*size, *cube_vox),
            np.float16,
            chunks=(1, 1, *cube_vox),
            **packed,
        )
        if num_samples:
            shape = (len(nodule_id), num_samples, *cube_vox)
            chunks = (1, 1, *cube_vox)
            self.file.create_dataset("samples", shape, np.uint8, chunks=chunks, **packed)

    def put_samples(self, row: int, box, masks):
        """Store a nodule's drawn masks: bool (samples, z, y, x) of what the model saw."""
        whole = np.zeros(self.file["samples"].shape[1:], np.uint8)
        window = tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))
        whole[(slice(None), *window)] = masks
        self.file["samples"][row] = whole

    def put(self, row: int, column: int, *, click, box, probability):
        """Store one nodule and offset.

        Parameters
        ----------
        row, column : int
            Nodule and offset.
        click : float (3,)
        box : int (6,)
            What the model saw.
        probability : float (z, y, x)
            Of that box.

        Raises
        ------
        InputError
            When a probability is no number from 0 to 1.
        """
        if not (
            np.isfinite(probability).all() and 0 <= probability.min() <= probability.max() <= 1
        ):
            raise InputError(
                f"the model's output for nodule {self.file['nodule_id'].asstr()[row]} is no "
                "probability (nan or outside 0 to 1)",
                "numbers from 0 to 1 in every voxel",
                "train the model again, and look at its history.csv",
            )
        whole = np.zeros(self.file["probability"].shape[2:], np.float16)
        window = tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))
        whole[window] = np.where(probability < SMALLEST, 0, probability)
        self.file["probability"][row, column] = whole
        self.file["click_zyx_vox"][row, column] = click
        self.file["inside_crop"][row, column] = box

    def __enter__(self):
        """Return the writer."""
        return self

    def __exit__(self, *error):
        """Close the file."""
        self.file.close()


def open_predictions(path):
    """Return one run's open prediction file, its schema checked.

    Raises
    ------
    InputError
        When it is missing, truncated, or of another schema.
    """
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise InputError(
            f"the predictions {path} can't be read ({str(error).splitlines()[0]})",
            "a whole HDF5 file made by predict_cubes",
            "remove it and run again",
        ) from error
    found = file.attrs.get("schema"), file.attrs.get("schema_version")
    if found != (SCHEMA, SCHEMA_VERSION):
        file.close()
        raise InputError(
            f"{path} is of schema {found[0]!r} version {found[1]}",
            f"{SCHEMA!r} version {SCHEMA_VERSION}",
            "make it again with the rule predict_cubes",
        )
    return file
