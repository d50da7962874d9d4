"""A digest of a script and of everything it imports from this project.

The digest covers the syntax trees without docstrings and comments, so an edited comment or a
touched file changes nothing, and changed code reruns the rule whose `params: code=` it is.
"""

import ast
import functools
import hashlib
from pathlib import Path

from quorum.errors import InputError

SCRIPTS = Path(__file__).resolve().parent.parent


@functools.cache
def code_digest(script: str, *modules: str) -> str:
    """Return the digest of `scripts/<script>.py` and its import closure in this project.

    Parameters
    ----------
    script : str
        A script's name without folder and suffix.
    *modules : str
        Dotted names of modules that the script loads by name while it runs, such as
        `quorum.networks.unet3d`; the imports alone don't show them.
    """
    named = [SCRIPTS.joinpath(*module.split(".")).with_suffix(".py") for module in modules]
    closure = collect_imports([SCRIPTS / f"{script}.py", *named])
    total = hashlib.sha256()
    for path in sorted(closure):
        total.update(str(path.relative_to(SCRIPTS)).encode())
        total.update(file_digest(path).encode())
    return total.hexdigest()[:16]


def collect_imports(paths: list) -> set:
    """Return those of `paths` that exist, and every file of this project that they import."""
    closure, left = set(), [path for path in paths if path.is_file()]
    while left:
        path = left.pop()
        if path not in closure:
            closure.add(path)
            left += imported_files(path)
    return closure


@functools.cache
def imported_files(path: Path) -> tuple:
    """Return the files of this project that a file imports: modules, and packages on the way."""
    found = []
    for module in imported_modules(path):
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            stem = SCRIPTS.joinpath(*parts[:length])
            found += [stem.with_suffix(".py"), stem / "__init__.py"]
    return tuple(file for file in dict.fromkeys(found) if file.is_file())


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file, without docstrings.

    Raises
    ------
    InputError
        When the file is no valid Python.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise InputError(
            f"{path.relative_to(SCRIPTS.parent)} is no valid Python (line {line}: {error})",
            "a script that Python can read",
            "correct that line",
        ) from error
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and is_docstring(node, body[0]):
            node.body = body[1:]
    return tree


def is_docstring(owner, statement) -> bool:
    """Tell whether `statement` is the docstring of `owner`."""
    return (
        isinstance(owner, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


@functools.cache
def file_digest(path: Path) -> str:
    """Return the digest of one file's syntax tree."""
    return hashlib.sha256(ast.dump(parsed(path)).encode()).hexdigest()


@functools.cache
def imported_modules(path: Path) -> tuple:
    """Return the dotted names a file imports, wherever in it the import stands.

    `from a import b` gives both `a` and `a.b`. A name that is only known while the program runs
    (importlib) is not seen: a rule gives it to `code_digest`.
    """
    names = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    return tuple(names)
