"""Each rule is written as CONTRIBUTING.md says, and each script too."""

import ast
import functools
import re
import subprocess
import sys

import pytest
from workflow_copy import ROOT

from quorum.locks import HELPERS

RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n((?:(?:[ ]{4}.*)?\n)+)", re.MULTILINE)
FILES = sorted((ROOT / "workflow" / "rules").glob("*.smk"))
BODIES = {name: body for path in FILES for name, body in RULE.findall(path.read_text() + "\n")}
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
# An ensemble's predictions lie beside those of its runs: they are scored by the same rule.
FOLDERS = {"predict_ensemble": "predict_cubes"}
WITH_TORCH = (
    "train_model", "predict_cubes", "predict_ensemble", "compare_networks", "search_skips",
)  # fmt: skip
LIBRARY = sorted(path for path in (ROOT / "scripts" / "quorum").rglob("*.py"))


def test_rules_are_found():
    assert {"list_series", "plan_shards", "write_report"} <= set(BODIES)
    text = "".join(path.read_text() for path in FILES)
    assert sorted(re.findall(r"^(?:rule|checkpoint) (\w+)", text, re.M)) == sorted(BODIES)


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_rule_has_its_parts(name):
    body = BODIES[name]
    assert re.match(r'    """[A-Z][^\n]*\."""\n', body), "a docstring of one sentence"
    for part in ("output", "params", "log", "benchmark", "conda", "threads", "resources", "shell"):
        assert re.search(rf"^    {part}:", body, re.M), part
    for resource in ("mem_mb", "runtime"):
        assert re.search(rf"^        {resource}=", body, re.M), resource
    assert re.search(rf'code=(code_digest|run_code)\("{name}"\)', body)
    assert "lambda" not in body
    assert f"python scripts/{name}.py" in body


def test_a_training_that_was_told_to_end_is_submitted_again():
    assert int(re.search(r"^    retries: (\d+)$", BODIES["train_model"], re.M)[1]) >= 1


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_rules_name_is_that_of_its_script_folder_log_and_test(name):
    body = BODIES[name]
    assert (ROOT / "scripts" / f"{name}.py").is_file()
    assert (ROOT / "tests" / "unit" / f"test_{name}.py").is_file()
    output = re.search(r"^    output:\n(.*?)^    \w", body, re.M | re.S).group(1)
    for path in re.findall(r'"(<[^"]+)"', output):
        folder = FOLDERS.get(name, name)
        assert path.startswith((f"<results>/{folder}/", f"<results>/{folder}.")), path
    assert re.search(rf'log:\n        "<logs>/{name}/', body)
    assert re.search(rf'benchmark:\n        "<benchmarks>/{name}/', body)


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_shell_block_has_one_flag_a_line_and_each_flag_once(name):
    shell = BODIES[name].split("    shell:\n")[1]
    lines = [line.strip().strip('"').strip() for line in shell.splitlines() if line.strip()]
    start = next(i for i, line in enumerate(lines) if line.startswith(f"python scripts/{name}.py"))
    # Before it, at most how the job takes signals.
    assert all(line.startswith("trap ") for line in lines[:start])
    lines = lines[start:]
    flags = [line.split()[0] for line in lines[1:] if line.startswith("--")]
    assert len(set(flags)) == len(flags)
    for line in lines[1:]:
        assert line.startswith(("--", ">", "2>&1")), line
        assert line.count(" --") == 0, line


@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_path_variable_in_params_is_filled_in(name):
    """Snakemake fills them in everywhere but there, and `<` is a redirection to the shell."""
    params = re.search(r"^    params:\n(.*?)^    \w", BODIES[name], re.M | re.S).group(1)
    for line in params.splitlines():
        assert "<" not in line or "whole_path(" in line, line


@pytest.mark.parametrize("name", sorted(BODIES))
def test_flags_of_the_rule_are_flags_of_the_script(name):
    known = set(re.findall(r"--[a-z][a-z-]*", help_of(name)))
    flags = set(re.findall(r'^        " (--[a-z-]+)', BODIES[name], re.M))
    assert flags
    assert flags <= known


def test_only_common_smk_has_functions_and_the_snakefile_is_short():
    for path in FILES:
        text = path.read_text()
        assert "lambda" not in text, path
        assert path.name == "common.smk" or not re.search(r"^\s*def ", text, re.M), path
    assert len((ROOT / "Snakefile").read_text().splitlines()) <= 60
    assert not re.search(r"^\s*(def|if|for) ", (ROOT / "Snakefile").read_text(), re.M)


def test_no_rule_names_a_partition_or_an_account():
    for path in FILES:
        assert not re.search(r"slurm_|partition|account", path.read_text()), path


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_says_what_it_reads_and_writes(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 200
    doc = ast.get_docstring(ast.parse(text))
    assert doc.splitlines()[0].endswith(".")
    assert re.search(r"^Reads\b", doc, re.M), "Reads"
    assert re.search(r"^Writes\b", doc, re.M), "Writes"
    assert 'if __name__ == "__main__":\n    run_command(main)' in text


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_a_library_module_is_short(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", [*SCRIPTS, *LIBRARY], ids=lambda path: path.stem)
def test_functions_are_short_documented_and_take_few_arguments(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        place = f"{path.name}:{node.lineno} {node.name}"
        assert own_lines(node) <= 40, place
        if not node.name.startswith("_"):
            assert ast.get_docstring(node) or is_nested(path, node), place
        names = [arg.arg for arg in (*node.args.args, *node.args.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        assert count <= 6, f"{place} takes {count} arguments"


def own_lines(node) -> int:
    """Return a function's lines without its docstring and without definitions inside it.

    Networks define their modules inside `build`, so that torch is imported only there; each of
    those functions is counted by itself.
    """
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef | ast.ClassDef):
            lines -= inner.end_lineno - inner.lineno + 1
    return lines


def is_nested(path, node) -> bool:
    """Tell whether a function is defined inside another one."""
    tree = ast.parse(path.read_text())
    return any(
        node.name == inner.name and node.lineno == inner.lineno
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(outer)
        if inner is not outer and isinstance(inner, ast.FunctionDef)
    )


def test_no_assert_and_no_bare_except_guard_data():
    for path in [*SCRIPTS, *LIBRARY]:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path.name}:{node.lineno}"


def test_each_script_is_a_rule_or_a_helper_and_has_a_test():
    tests = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for path in SCRIPTS:
        assert path.stem in BODIES or path.name in HELPERS, path
        assert f"test_{path.stem}.py" in tests, path


def test_only_scripts_that_need_them_import_the_slow_packages():
    """torch takes 2 s to import; a script that needs none of it starts at once."""
    for path in SCRIPTS:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [getattr(node, "module", None) or "", *(a.name for a in node.names)]
                slow = {"torch", "monai", "lightning"}.intersection(n.split(".")[0] for n in names)
                assert not slow or path.stem in WITH_TORCH, (path, slow)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_explains_itself(path):
    assert "Writes" in help_of(path.stem)


@functools.cache
def help_of(script: str) -> str:
    """Return what `python scripts/<script>.py --help` prints."""
    words = [sys.executable, ROOT / "scripts" / f"{script}.py", "--help"]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
