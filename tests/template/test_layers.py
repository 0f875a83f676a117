"""The layers as `sam build` makes them from the locked requirements: small enough for Lambda, and nothing lost by it."""

from __future__ import annotations

import compileall
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.template.conftest import ROOT

MEGABYTE = 1_000_000
NUMPY = """
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(*(name for name in __cpu_dispatch__ if __cpu_features__[name]))
"""
ARROW = "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"


def _make(source: dict[str, Any], layer: str, targets: list[str], to: Path) -> None:
    properties, metadata = (source["Resources"][layer][part] for part in ("Properties", "Metadata"))
    subprocess.run(
        ["make", "-s", "-f", ROOT / metadata["ContextPath"] / "Makefile", *targets, f"ARTIFACTS_DIR={to}"],
        env=os.environ | {"PYTHON": sys.executable, "MAKEFLAGS": ""},
        cwd=ROOT / properties["ContentUri"], check=True,
    )  # fmt: skip


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.fixture(scope="session")
def layers(source: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the built layers by logical id; compiled by this Python, which is not always the one of Lambda."""
    built = {}
    for layer in ("LinnetLayer", "AnalyticsLayer"):
        built[layer] = tmp_path_factory.mktemp(layer)
        _make(source, layer, [f"build-{layer}", "-o", "compile"], built[layer])
        with warnings.catch_warnings(action="ignore"):  # other people's code, read by another Python than theirs
            compileall.compile_dir(built[layer], quiet=2)
    return built


@pytest.fixture(scope="session")
def trimmed(source: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return this Python's own numpy and pyarrow, trimmed as the layer is: what is built is for Lambda's Python."""
    to = tmp_path_factory.mktemp("trimmed")
    for name in ("numpy", "pyarrow"):
        spec = importlib.util.find_spec(name)
        assert spec
        assert spec.origin
        package = Path(spec.origin).parent
        for folder in (package, package.with_name(f"{name}.libs")):
            if folder.exists():
                shutil.copytree(folder, to / "python" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    _make(source, "AnalyticsLayer", ["trim"], to)
    return to / "python"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
    )  # fmt: skip


def test_each_function_and_its_layers_unzip_to_at_most_250_megabytes(
    source: dict[str, Any], layers: dict[str, Path]
) -> None:
    common = source["Globals"]["Function"]["Layers"]
    each = {layer: _bytes(folder) for layer, folder in layers.items()}
    sizes = {
        name: _bytes(ROOT / function["Properties"]["CodeUri"])
        + sum(each[layer["Ref"]] for layer in common + function["Properties"].get("Layers", []))
        for name, function in source["Resources"].items()
        if function["Type"] == "AWS::Serverless::Function"
    }

    assert max(sizes.values()) > 150 * MEGABYTE  # or the layers were not built
    assert {name: size for name, size in sizes.items() if size > 250 * MEGABYTE} == {}


def test_the_analytics_layer_unzips_to_at_most_175_megabytes_and_is_whole_but_for_what_nobody_calls(
    layers: dict[str, Path],
) -> None:
    built = layers["AnalyticsLayer"]

    assert {"numpy", "pyarrow"} < {folder.name for folder in (built / "python").iterdir()}
    assert 100 * MEGABYTE < _bytes(built) <= 175 * MEGABYTE


def test_each_layer_is_compiled_at_last_by_lambdas_python(source: dict[str, Any]) -> None:
    layers = {name: r for name, r in source["Resources"].items() if r["Type"] == "AWS::Serverless::LayerVersion"}
    for name, layer in layers.items():
        (python,) = layer["Properties"]["CompatibleRuntimes"]
        planned = subprocess.run(
            ["make", "-n", f"build-{name}", "ARTIFACTS_DIR=/built"],
            cwd=ROOT / "layers", env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

        assert planned.splitlines()[-1].startswith(f'"{python}" -m compileall')
    assert len(layers) == 2


def test_the_engine_passes_its_own_tests_on_the_trimmed_packages(trimmed: Path) -> None:
    engine = "".join(file.read_text() for file in (ROOT / "layers" / "linnet" / "linnet").rglob("*.py"))
    modules = sorted(set(re.findall(r"(?:import|from) ((?:numpy|pyarrow)[\w.]*)", engine)))
    found = _run("-c", f"import {', '.join(modules)}; print(numpy.__file__, pyarrow.__file__)", PYTHONPATH=str(trimmed))
    done = _run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not hypothesis",
        *(f"tests/monitoring/test_{name}.py" for name in ("capture", "drift", "rules", "tables")),
        PYTHONPATH=f"{trimmed}:{ROOT / 'layers' / 'linnet'}:{ROOT}",
    )  # fmt: skip

    assert {"numpy", "pyarrow", "pyarrow.csv", "pyarrow.parquet"} < set(modules)
    assert found.stderr == ""
    assert found.stdout.split() == [str(trimmed / name / "__init__.py") for name in ("numpy", "pyarrow")]
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_settings_of_numpy_and_arrow_are_obeyed_where_they_apply_and_elsewhere_ignored(
    source: dict[str, Any],
) -> None:
    """numpy/x86-simd-sort#6: on AMD's Zen 4 the AVX-512 sort takes five times as long as the AVX2 one."""
    variables = source["Globals"]["Function"]["Environment"]["Variables"]
    numpy = {"NPY_DISABLE_CPU_FEATURES": variables["NPY_DISABLE_CPU_FEATURES"]}
    arrow = {"ARROW_DEFAULT_MEMORY_POOL": variables["ARROW_DEFAULT_MEMORY_POOL"]}
    elsewhere = {"NPY_DISABLE_CPU_FEATURES": "ASIMDHP SVE NO_SUCH_FEATURE"}  # as x86's names are on arm: unknown

    avx512 = {name for name in np._core._multiarray_umath.__cpu_dispatch__ if "AVX512" in name or name == "X86_V4"}
    every = _run("-c", NUMPY)
    without, unknown, pool = _run("-c", NUMPY, **numpy), _run("-c", NUMPY, **elsewhere), _run("-c", ARROW, **arrow)

    assert [done.stderr for done in (every, without, unknown, pool)] == [""] * 4
    assert avx512 <= set(variables["NPY_DISABLE_CPU_FEATURES"].split())
    assert set(without.stdout.split()) == set(every.stdout.split()) - avx512
    assert unknown.stdout == every.stdout
    assert pool.stdout.strip() == "system"
