"""Writes a shard: the arrays one nodule after the other, the small columns at the end."""

import io
import json

import h5py
import numpy as np

from quorum.ratings import RATINGS
from quorum.shard_schema import (
    ATTRIBUTES,
    CUBE,
    DATA_KINDS,
    FIELDS,
    NO_DATA,
    SCHEMA,
    SCHEMA_VERSION,
    TEXT,
)


class ShardWriter:
    """Writes the nodules of one shard, one after the other; use it as a context.

    The file is put together in memory, compressed, and written at the end by Python: on a full
    disk HDF5 goes on for long, then crashes the process, where Python raises an OSError.

    Parameters
    ----------
    path : str or Path
        A temporary name; `quorum.files.write_whole` renames it when all is written.
    attributes : dict
        Every one of ATTRIBUTES; made_by is a dict and stored as JSON.
    has_latent : bool
        Whether the nodules carry a phantom's true surface.
    """

    def __init__(self, path, attributes: dict, *, has_latent: bool = False):
        if sorted(attributes) != sorted(ATTRIBUTES):
            raise ValueError(f"attributes {sorted(attributes)} are not {sorted(ATTRIBUTES)}")
        if attributes["data_kind"] not in (*DATA_KINDS, NO_DATA):
            raise ValueError(f"data_kind {attributes['data_kind']!r} is none of {DATA_KINDS}")
        self.shape_vox = tuple(int(length) for length in attributes["shape_vox"])
        self.fields = [field for field in FIELDS if field.name != "latent" or has_latent]
        self.path, self.content = path, io.BytesIO()
        self.file = h5py.File(self.content, "w", libver=("earliest", "v110"))
        self.file.attrs.update(schema=SCHEMA, schema_version=SCHEMA_VERSION)
        for name, value in attributes.items():
            is_json = name == "made_by"
            self.file.attrs[name] = json.dumps(value, sort_keys=True) if is_json else value
        self.file.attrs["rating_names"] = list(RATINGS)
        self.file.attrs["axis_order"] = "z y x"
        self.columns = {field.name: [] for field in self.fields if field.shape != CUBE}
        for field in self.fields:
            if field.shape == CUBE:
                self.describe(field, self.make_arrays(field))

    def make_arrays(self, field):
        """Return an empty dataset that grows by one cube, one chunk, at a time."""
        return self.file.create_dataset(
            field.name,
            shape=(0, *self.shape_vox),
            maxshape=(None, *self.shape_vox),
            chunks=(1, *self.shape_vox),
            dtype=field.dtype,
            compression="gzip",
            compression_opts=4,
            shuffle=True,
        )

    def describe(self, field, dataset):
        """Store a field's unit and meaning beside its values."""
        dataset.attrs.update(unit=field.unit, meaning=field.meaning)

    def add(self, cube: dict):
        """Append one nodule: a value for every field of the schema, by name.

        Raises
        ------
        ValueError
            When a field is missing, unknown or of another shape.
        """
        names = [field.name for field in self.fields]
        if sorted(cube) != sorted(names):
            raise ValueError(f"fields {sorted(set(cube) ^ set(names))} are missing or unknown")
        for field in self.fields:
            shape = self.shape_vox if field.shape == CUBE else field.shape
            if np.shape(cube[field.name]) != shape:
                raise ValueError(f"{field.name} is {np.shape(cube[field.name])}, not {shape}")
        for field in self.fields:
            if field.shape == CUBE:
                dataset = self.file[field.name]
                dataset.resize(len(dataset) + 1, axis=0)
                dataset[-1] = cube[field.name]
            else:
                self.columns[field.name].append(cube[field.name])

    def write_columns(self):
        """Write the small columns, one dataset a field."""
        for field in self.fields:
            if field.shape != CUBE:
                values = self.columns[field.name]
                shape = (len(values), *field.shape)
                dataset = self.file.create_dataset(field.name, shape=shape, dtype=field.dtype)
                if values:
                    dataset[...] = values if field.dtype is TEXT else np.array(values, field.dtype)
                self.describe(field, dataset)

    def __enter__(self):
        """Return the writer."""
        return self

    def __exit__(self, kind, *_):
        """Write the small columns and the file, unless something went wrong."""
        try:
            if kind is None:
                self.write_columns()
        finally:
            self.file.close()
        if kind is None:
            with open(self.path, "wb") as stream:
                stream.write(self.content.getbuffer())
