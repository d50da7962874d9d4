"""The digest that decides whether changed code reruns a rule."""

import re

import pytest

from quorum import code
from quorum.errors import InputError

SCRIPT = """\
'''Doc.'''
from quorum.helper import add


def run():
    '''Doc.'''
    return add(1)
"""
HELPER = "def add(number):\n    return number + 1\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder of scripts: one script and one library module that it imports."""
    monkeypatch.setattr(code, "SCRIPTS", tmp_path)
    (tmp_path / "quorum").mkdir()
    (tmp_path / "quorum" / "__init__.py").write_text("")
    (tmp_path / "quorum" / "helper.py").write_text(HELPER)
    (tmp_path / "quorum" / "other.py").write_text("OTHER = 1\n")
    (tmp_path / "step.py").write_text(SCRIPT)
    return tmp_path


def digest(*modules) -> str:
    """Return the digest of the script `step` as a new process would see it."""
    for function in vars(code).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
    return code.code_digest("step", *modules)


@pytest.mark.parametrize(
    "edited",
    [
        "# A comment.\n" + SCRIPT,
        SCRIPT.replace("Doc.", "Another text."),
        SCRIPT.replace("add(1)", "add( 1 )  # why"),
        SCRIPT.replace("\n\n\ndef", "\n\n\n\n\ndef"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(project, edited):
    before = digest()
    (project / "step.py").write_text(edited)
    assert digest() == before


def test_changed_code_changes_the_digest(project):
    before = digest()
    (project / "step.py").write_text(SCRIPT.replace("add(1)", "add(2)"))
    assert digest() != before


def test_a_changed_import_changes_the_digest_and_another_module_does_not(project):
    before = digest()
    (project / "quorum" / "other.py").write_text("OTHER = 2\n")
    assert digest() == before
    (project / "quorum" / "helper.py").write_text(HELPER.replace("+ 1", "+ 2"))
    assert digest() != before


@pytest.mark.parametrize(
    "statement",
    [
        "    from quorum.deep.inner import VALUE\n",
        "    from quorum.deep import inner\n",
        "    import quorum.deep.inner\n",
    ],
)
def test_imports_inside_functions_and_packages_are_followed(project, statement):
    (project / "quorum" / "deep").mkdir()
    (project / "quorum" / "deep" / "__init__.py").write_text("")
    (project / "quorum" / "deep" / "inner.py").write_text("VALUE = 1\n")
    script = SCRIPT.replace("    return", f"{statement}    return")
    (project / "step.py").write_text(script)
    before = digest()
    (project / "quorum" / "deep" / "inner.py").write_text("VALUE = 2\n")
    assert digest() != before


def test_an_import_in_a_circle_ends(project):
    (project / "quorum" / "helper.py").write_text("import quorum.other\n" + HELPER)
    (project / "quorum" / "other.py").write_text("import quorum.helper\n")
    assert len(digest()) == 16


def test_a_script_that_is_no_python_is_named_with_its_line(project):
    (project / "quorum" / "helper.py").write_text("def add(:\n")
    with pytest.raises(InputError, match=r"quorum/helper\.py is no valid Python \(line 1"):
        digest()


def test_a_module_that_is_loaded_by_name_is_given_to_the_digest(project):
    (project / "quorum" / "named.py").write_text("VALUE = 1\n")
    before = digest("quorum.named")
    assert before != digest()
    (project / "quorum" / "named.py").write_text("VALUE = 2\n")
    without = digest()
    assert digest("quorum.named") != before
    (project / "quorum" / "named.py").write_text("VALUE = 1\n")
    assert digest() == without


def test_no_other_module_escapes_the_digest(root):
    """Relative imports and importlib by name are not seen by it."""
    # The registry of networks; the rules that need it give the network's module to the digest.
    known = root / "scripts" / "quorum" / "networks" / "__init__.py"
    for path in sorted((root / "scripts").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"import_module\((f|[a-z])", text) or path == known, path
        assert "\nfrom ." not in text, path
