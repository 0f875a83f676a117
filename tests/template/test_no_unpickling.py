"""No function unpickles, unpacks a program or runs text: every import and call of its code is walked (practice.md B4).

An artifact is a program and an object of data is somebody else's: neither may become code of ours. Programs are loaded in
SageMaker's containers alone. What is walked is all code of ours that a function imports, directly or not, at any depth;
of others' code the few packages named here.
"""

from __future__ import annotations

import ast
import io
import pickle
import sys
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from linnet.monitoring.tables import DataError, Source, read_table
from tests.template.conftest import ROOT

PACKAGES = ROOT / "layers" / "linnet"
OTHERS = {"aws_lambda_powertools", "boto3", "botocore", "numpy", "pyarrow", "pydantic", "pydantic_core", "yaml"}
"""Others' packages that functions use; each one more is a decision about who may run code in a function."""
IMPORTS = {
    "_pickle", "cloudpickle", "code", "codeop", "ctypes", "dill", "imp", "joblib", "marshal", "multiprocessing", "pickle",
    "runpy", "shelve", "skops", "subprocess", "tarfile", "torch",
}  # fmt: skip
NAMES = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "allow_pickle", "exec_module", "extract", "extractall", "full_load", "import_module", "load_model",
    "popen", "read_pickle", "spec_from_file_location", "system", "unpack_archive", "unpickle", "unsafe_load",
    "PyExtensionType", "UnsafeLoader", "FullLoader",
}  # fmt: skip
ONLY_AS = {"yaml.load": "yaml.safe_load", "np.load": "arrow files", "numpy.load": "arrow files"}


def imported(tree: ast.AST) -> set[str]:
    """Return the dotted names of all modules that a module imports, inside functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def forbidden(tree: ast.AST) -> set[str]:
    """Return what a module imports, calls or names that could turn bytes into running code."""
    found = {name for name in imported(tree) if name.partition(".")[0] in IMPORTS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in NAMES:
            found.add(node.id)
        if isinstance(node, ast.Attribute) and (node.attr in ATTRIBUTES or ast.unparse(node) in ONLY_AS):
            found.add(ast.unparse(node))
        if isinstance(node, ast.keyword) and node.arg in ATTRIBUTES:
            found.add(str(node.arg))
    return found


@cache
def read(path: Path) -> tuple[ast.AST, frozenset[str]]:
    """Return a module's tree and what it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tree, frozenset(imported(tree))


def reached(start: Path) -> set[Path]:
    """Return the modules of ours that a file imports, directly or not, itself included."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for name in read(path)[1]:
            if name.partition(".")[0] == "linnet":
                place = PACKAGES.joinpath(*name.split("."))
                waiting += [p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()]
    return found


APPS = sorted((ROOT / "functions").glob("*/app.py"))


def test_no_function_reaches_code_that_unpickles_or_runs_what_it_reads() -> None:
    walked = {module for app in APPS for module in reached(app)}

    assert len(APPS) > 30
    assert {PACKAGES / "linnet" / "monitoring" / "store.py", PACKAGES / "linnet" / "gateways" / "s3.py"} <= walked
    assert {str(path): bad for path in sorted(walked) if (bad := forbidden(read(path)[0]))} == {}


def test_functions_use_few_packages_of_others_and_each_is_named() -> None:
    tops = {name.partition(".")[0] for app in APPS for module in reached(app) for name in read(module)[1]}

    assert tops - set(sys.stdlib_module_names) - {"linnet"} <= OTHERS


def test_the_program_that_loads_models_runs_in_a_job_and_is_reached_by_no_function() -> None:
    program = PACKAGES / "linnet" / "data" / "attributions.py"

    assert forbidden(ast.parse(program.read_text())) >= {"tarfile", "subprocess"}
    assert [app for app in APPS if program in reached(app)] == []


@pytest.mark.parametrize(
    "written",
    [
        "import pickle", "from pickle import loads", "def f():\n    import joblib", "import numpy as np\nnp.load('x')",
        "np.fromfile('x', allow_pickle=True)", "import yaml\nyaml.load(x)", "yaml.unsafe_load(x)", "exec(text)",
        "x.extractall(y)", "booster.load_model(p)", "importlib.import_module(name)", "os.system('ls')", "e = eval",
    ],
)  # fmt: skip
def test_the_walk_sees_every_one_of_these(written: str) -> None:
    assert forbidden(ast.parse(written))


class _Planted:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


def test_cve_2023_47248_a_parquet_file_with_a_pickle_as_its_extension_type_runs_nothing() -> None:
    """Arrow before 14.0.1 unpickled `arrow.py_extension_type` of whatever file was read."""
    marks = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(_Planted(), 0)}
    schema = pa.schema([pa.field("a", pa.int64(), metadata=marks)])
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}, schema=schema), file)
    found: list[str] = []

    def hook(event: str, _: tuple[object, ...]) -> None:
        if event == "pickle.find_class":
            found.append(event)

    sys.addaudithook(hook)
    with pytest.raises(SystemExit):  # the bait bites where somebody does unpickle it
        pickle.loads(marks["ARROW:extension:metadata"])  # type: ignore[arg-type]
    seen = len(found)
    try:
        rows = sum(batch.num_rows for batch in read_table([Source("x", file.getvalue(), "parquet")]))
    except DataError:
        rows = 0

    assert rows in (0, 2)
    assert seen >= 1
    assert found[seen:] == []
