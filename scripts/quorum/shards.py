"""Shards, HDF5 files of cubes, as one sequence of nodules that is opened lazily.

Readable with plain h5py; built-in filters only (gzip, shuffle), one chunk a nodule:

    with h5py.File("results/extract_cubes/shard00.h5") as shard:
        image_hu = shard["image"][0]                        # int16 (z, y, x)
        reader2 = (shard["readers"][0] >> 1) & 1            # bit k is reader k + 1

or, over several shards and safe in worker processes:

    cubes = open_shards(["results/extract_cubes/shard00.h5", ...])
    cubes.nodule_id[0], cubes.image(0), cubes.readers(0), cubes.coverage(0), cubes.table()

Every dataset, its unit and meaning: shard_schema.py, and the page workflow/schemas/shard.md.
"""

import contextlib
import os
from pathlib import Path

import h5py
import numpy as np

from quorum.errors import InputError
from quorum.shard_schema import (
    COLUMNS,
    FIELDS,
    NO_DATA,
    SCHEMA,
    SCHEMA_VERSION,
    TEXT,
)


class CubeSet:
    """The nodules of several shards as one sequence; arrays are read one nodule at a time.

    Small columns are read at once and are attributes: `cubes.nodule_id`, `cubes.diameter_mm`,
    every name of COLUMNS but data_kind. Files are opened by each process for itself on first use,
    so that a set can be pickled, forked, and handed to workers.

    Attributes
    ----------
    data_kind : str
        phantom, scan or cut_out (cut_out as soon as one cube comes from a cut-out volume);
        `empty` where there is no nodule.
    spacing_mm : float
    shape_vox : tuple of int
        (z, y, x)
    has_latent : bool
        Whether the nodules carry a phantom's true surface.
    attributes : dict
        Of the first shard.
    places : float32 (n, 2, 3) or None
        Of quorum.places, once they were asked for.
    """

    def __init__(self, paths):
        self.paths = [str(path) for path in paths]
        if not self.paths:
            raise InputError("no shard was named", "at least one .h5 file", "name the shards")
        self._files, self._pid, self.places = {}, None, None
        parts = [self._read_columns(path) for path in self.paths]
        self.attributes = dict(parts[0][0])
        self._check_alike([attributes for attributes, _ in parts])
        self.spacing_mm = float(self.attributes["spacing_mm"])
        self.shape_vox = tuple(int(length) for length in self.attributes["shape_vox"])
        self.columns = {n: np.concatenate([columns[n] for _, columns in parts]) for n in COLUMNS}
        counts = [len(columns["nodule_id"]) for _, columns in parts]
        self.shard_of = np.repeat(np.arange(len(parts)), counts)
        self.row_of = np.concatenate([np.arange(count) for count in counts])
        self.data_kind = common_kind(self.columns["data_kind"], self.paths)
        self.has_latent = self.data_kind == "phantom"
        for name in COLUMNS:
            if name != "data_kind":
                setattr(self, name, self.columns[name])
        self.close()

    def _check_alike(self, attributes):
        """Refuse shards of another spacing or shape beside each other."""
        for path, other in zip(self.paths, attributes, strict=True):
            for name in ("spacing_mm", "shape_vox"):
                if not np.array_equal(other[name], attributes[0][name]):
                    raise InputError(
                        f"the shard {path} has {name} {other[name]}, {self.paths[0]} has "
                        f"{attributes[0][name]}",
                        "shards of one spacing and shape",
                        "make all of them again with the rule extract_cubes",
                    )

    def _read_columns(self, path):
        """Return one shard's attributes and small columns."""
        shard = self._file(path)
        with readable(path):
            texts = {field.name for field in FIELDS if field.dtype is TEXT}
            read = {n: shard[n].asstr() if n in texts else shard[n] for n in COLUMNS}
            return dict(shard.attrs), {name: dataset[()] for name, dataset in read.items()}

    def _file(self, path):
        """Return the open file of a shard, opened by this very process."""
        if self._pid != os.getpid():
            self._files, self._pid = {}, os.getpid()
        if path not in self._files:
            self._files[path] = open_shard(path)
        return self._files[path]

    def _array(self, name, index):
        """Return one nodule's array of the given dataset."""
        path = self.paths[self.shard_of[index]]
        with readable(path):
            return self._file(path)[name][int(self.row_of[index])]

    def image(self, index: int) -> np.ndarray:
        """Return nodule `index`'s image: int16 (z, y, x) [HU]."""
        return self._array("image", index)

    def readers(self, index: int) -> np.ndarray:
        """Return the readers' masks: uint8 (z, y, x), bit k is reader k + 1."""
        return self._array("readers", index)

    def coverage(self, index: int) -> np.ndarray:
        """Return what the series really holds: uint8 (z, y, x), 0 or 1."""
        return self._array("coverage", index)

    def staple(self, index: int) -> np.ndarray:
        """Return STAPLE's probability: float16 (z, y, x)."""
        return self._array("staple", index)

    def latent(self, index: int) -> np.ndarray:
        """Return a phantom's true surface: uint8 (z, y, x); KeyError for real images."""
        if not self.has_latent:
            raise KeyError("only phantoms have a latent surface")
        return self._array("latent", index)

    def packed(self, name: str, index: int) -> tuple[int, bytes]:
        """Return one nodule's dataset as its file keeps it, and which of its filters were left out.

        Shuffled, then deflated (zlib) where the first value is 0.
        """
        path = self.paths[self.shard_of[index]]
        with readable(path):
            chunk = self._file(path)[name].id
            return chunk.read_direct_chunk((int(self.row_of[index]), 0, 0, 0))

    def table(self):
        """Return the scalar columns as a DataFrame, one row a nodule, and its shard's path."""
        import pandas as pd

        frame = pd.DataFrame({n: v for n, v in self.columns.items() if np.ndim(v) == 1})
        return frame.assign(shard=[self.paths[k] for k in self.shard_of])

    def close(self):
        """Close this process's files; the next use opens them again."""
        if self._pid == os.getpid():
            for file in self._files.values():
                file.close()
        self._files, self._pid = {}, None

    def __len__(self):
        """Return the number of nodules."""
        return len(self.row_of)

    def __getstate__(self):
        """Return the state without open files."""
        return {**self.__dict__, "_files": {}, "_pid": None}


def open_shards(paths) -> CubeSet:
    """Return the nodules of one or several shards, in the order of the paths.

    Raises
    ------
    InputError
        When a file is missing, truncated, no shard, of another schema version, or when shards of
        different spacing or shape, or phantoms and real images, are named together.
    """
    return CubeSet([paths] if isinstance(paths, str | Path) else paths)


def open_shard(path):
    """Return one shard's open file, its schema checked.

    Raises
    ------
    InputError
        See `open_shards`.
    """
    with readable(path):
        # Shards are renamed into place whole and never change, so no lock is needed; some
        # network file systems refuse locks.
        file = h5py.File(path, "r", locking=False)
    name, version = file.attrs.get("schema"), file.attrs.get("schema_version")
    expected = [f.name for f in FIELDS if f.name != "latent"]
    if name != SCHEMA or version != SCHEMA_VERSION or not set(expected) <= set(file):
        file.close()
        raise InputError(
            f"{path} is of schema {name!r} version {version}",
            f"{SCHEMA!r} version {SCHEMA_VERSION} with all its datasets",
            "make it again with the rule extract_cubes",
        )
    return file


@contextlib.contextmanager
def readable(path):
    """Turn an error while a shard is read into an InputError that names it."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the shard {path} can't be read ({str(error).splitlines()[0]})",
            "a whole HDF5 file made by extract_cubes",
            "remove it and run again",
        ) from error


def common_kind(kinds, paths) -> str:
    """Return the one data_kind that tables made from these nodules carry.

    Raises
    ------
    InputError
        When phantoms and real images are mixed.
    """
    found = set(kinds)
    if "phantom" in found and len(found) > 1:
        raise InputError(
            f"the shards {', '.join(map(str, paths))} mix phantoms with real images",
            "either of the two",
            "keep the results of one source in one folder",
        )
    if not found:
        return NO_DATA
    return next(kind for kind in ("phantom", "cut_out", "scan") if kind in found)
