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
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


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
        total.update(parsed(path)[0].encode())
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
    for module in parsed(path)[1]:
        parts = module.split(".")
        for length in range(1, len(parts) + 1):
            stem = SCRIPTS.joinpath(*parts[:length])
            found += [stem.with_suffix(".py"), stem / "__init__.py"]
    return tuple(file for file in dict.fromkeys(found) if file.is_file())


@functools.cache
def parsed(path: Path) -> tuple:
    """Return a file's digest and the dotted names that it imports, wherever the import stands.

    `from a import b` gives both `a` and `a.b`. A name that is only known while the program runs
    (importlib) is not seen: a rule gives it to `code_digest`.

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
    parts, modules = [], []
    visit(tree, parts, modules)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest(), tuple(modules)


def visit(node, parts: list, modules: list):
    """Append a node and all below it, without docstrings, and the modules that they import.

    One walk in place of three by `ast`: every script's digest is made in every job.
    """
    if isinstance(node, list):
        parts.append(f"[{len(node)}")
        for member in node:
            visit(member, parts, modules)
    elif isinstance(node, ast.AST):
        parts.append(type(node).__name__)
        for name in node._fields:
            value = getattr(node, name, None)
            if name == "body" and isinstance(node, DOCUMENTED) and is_docstring(value):
                value = value[1:]
            visit(value, parts, modules)
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules += [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        parts.append(repr(node))


def is_docstring(body: list) -> bool:
    """Tell whether a body begins with a docstring."""
    return (
        bool(body)
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    )
