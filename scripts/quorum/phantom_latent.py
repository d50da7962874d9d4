"""A phantom's latent surfaces: one HDF5 file beside the slices of each simulated series.

`<folder>/<series_uid>/latent.h5`, schema `quorum-latent`, version 1:

- attributes: schema, schema_version, data_kind (`phantom`), series_uid, source_series_uid, seed
- `z_mm` float64 (slices,) [mm]: z of every slice of the phantom series, from the lowest up
- `nodules/<nodule_id>/mask` uint8 (z, y, x), 1 = inside the true surface, cut to its own box;
  attributes: start_zyx int64 (3,) = (slice, row, column) of its first voxel in the phantom series
  (slice 0 = the lowest of `z_mm`), origin (`reader<k>` or `vote<level>`), attachment (`none`,
  `vessel` or `wall`), body_hu
"""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from quorum.errors import InputError
from quorum.files import write_whole

FILE_NAME = "latent.h5"
SCHEMA = "quorum-latent"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Latent:
    """One nodule's true surface on the raster of its phantom series.

    Attributes
    ----------
    mask : bool (z, y, x)
        Inside the surface; cut to a box, which has an empty border or ends with the series.
    start_zyx : tuple of int
        (slice, row, column) of the box's first voxel in the series; slice 0 is the lowest z.
    notes : dict
        What the scanner decided: origin, attachment, body_hu.
    """

    mask: np.ndarray
    start_zyx: tuple
    notes: dict = field(default_factory=dict)


def latent_path(dicom_path) -> Path:
    """Return where the latent surfaces of the series of a phantom's DICOM file lie."""
    return Path(dicom_path).with_name(FILE_NAME)


def write_latent(path, latents: dict, *, z_mm, **attributes):
    """Write the latent surfaces of one series.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.
    latents : dict of str to Latent
        By nodule_id.
    z_mm : float (slices,) [mm]
        Of every slice of the phantom series, ascending.
    **attributes
        Stored at the file's top, such as series_uid.
    """
    with write_whole(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(
            schema=SCHEMA, schema_version=SCHEMA_VERSION, data_kind="phantom", **attributes
        )
        file["z_mm"] = np.asarray(z_mm, float)
        for nodule_id, latent in sorted(latents.items()):
            dataset = file.create_dataset(
                f"nodules/{nodule_id}/mask",
                data=latent.mask.astype(np.uint8),
                compression="gzip",
                compression_opts=1,
            )
            dataset.attrs["start_zyx"] = np.asarray(latent.start_zyx, np.int64)
            dataset.attrs.update(latent.notes)


def read_latent(path, nodule_id: str) -> tuple[Latent, np.ndarray]:
    """Read one nodule's true surface.

    Returns
    -------
    latent : Latent
        Its box on the raster of the phantom series.
    z_mm : float64 (slices,) [mm]
        z of every slice of that series, ascending; `latent.start_zyx[0]` counts in it.

    Raises
    ------
    InputError
        When the file is missing or of another schema, or has no such nodule.
    """
    with open_latent(path) as file:
        name = f"nodules/{nodule_id}/mask"
        if name not in file:
            raise InputError(
                f"{path} has no latent surface of the nodule {nodule_id}",
                f"one of {', '.join(file.get('nodules', {}))}",
                "make the series again with the rule simulate_series",
            )
        dataset = file[name]
        notes = {key: as_plain(value) for key, value in dataset.attrs.items() if key != "start_zyx"}
        start = tuple(int(index) for index in dataset.attrs["start_zyx"])
        return Latent(dataset[()].astype(bool), start, notes), file["z_mm"][()]


def read_latent_ids(path) -> list:
    """Return the nodule_ids whose surfaces a file holds, sorted."""
    with open_latent(path) as file:
        return sorted(file.get("nodules", {}))


def open_latent(path) -> h5py.File:
    """Open a file of latent surfaces for reading, after checking its schema."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise unreadable(path, error) from error
    if (file.attrs.get("schema"), file.attrs.get("schema_version")) != (SCHEMA, SCHEMA_VERSION):
        file.close()
        raise unreadable(path, "another schema")
    return file


def unreadable(path, reason) -> InputError:
    """Return the error for a file that is no file of latent surfaces."""
    return InputError(
        f"the latent surfaces {path} can't be read ({reason})",
        f"a file of schema {SCHEMA}, version {SCHEMA_VERSION}",
        "make the series again with the rule simulate_series",
    )


def as_plain(value):
    """Return an HDF5 attribute as a plain Python value."""
    return value.item() if hasattr(value, "item") else value
