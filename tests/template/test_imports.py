"""What each function imports, in a process of its own, against what its layers give and what it needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.template.conftest import ROOT

LAYERS = {"LinnetLayer": ROOT / "layers" / "linnet", "AnalyticsLayer": ROOT / "layers" / "analytics"}
HEAVY = {"numpy", "pyarrow"}
ALONE = """
import json, sys

class Absent:
    def find_spec(name, path, target=None):
        if name in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.path[:0] = paths
sys.meta_path.insert(0, Absent)
import app
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""
"""Imports `app` as on Lambda, where what no layer brings is absent: a library that can do without it does."""


@pytest.fixture(scope="module")
def functions(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of every function by its folder."""
    found = [r["Properties"] for r in source["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
    return {Path(properties["CodeUri"]).name: properties for properties in found}


def _layers(source: dict[str, Any], properties: dict[str, Any]) -> list[Path]:
    """Return the folders of a function's layers, those of Globals among them."""
    return [LAYERS[layer["Ref"]] for layer in source["Globals"]["Function"]["Layers"] + properties.get("Layers", [])]


def _given(layer: Path) -> set[str]:
    """Return the packages that a layer's locked requirements install."""
    pinned = {
        _plain(name) for name in re.findall(r"^([\w.-]+)==", (layer / "requirements.txt").read_text(), re.MULTILINE)
    }
    return {package for package, of in packages_distributions().items() if pinned & {_plain(name) for name in of}}


def _plain(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def _import(folder: str, absent: set[str]) -> subprocess.CompletedProcess[str]:
    given = {"paths": [str(ROOT / "functions" / folder), str(LAYERS["LinnetLayer"])], "absent": sorted(absent)}
    script = "".join(f"{name} = {value!r}\n" for name, value in given.items()) + ALONE
    return subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def imported(
    source: dict[str, Any], functions: dict[str, dict[str, Any]]
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Return how the import of each function's handler ends, in a process that has what its layers give."""
    installed = set(packages_distributions()) - sys.stdlib_module_names
    absent = {f: installed - set().union(*map(_given, _layers(source, p))) for f, p in functions.items()}
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(absent, pool.map(_import, absent, absent.values()), strict=True))


def test_each_function_is_imported_with_nothing_but_what_its_layers_give(
    functions: dict[str, dict[str, Any]], imported: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    failed = {name: done.stderr for name, done in imported.items() if done.returncode}

    assert failed == {}
    assert {"boto3", "pydantic"} <= _given(LAYERS["LinnetLayer"])
    assert _given(LAYERS["AnalyticsLayer"]) >= HEAVY
    assert sorted(imported) == sorted(app.parent.name for app in (ROOT / "functions").glob("*/app.py"))


def test_heavy_packages_are_imported_by_the_functions_that_have_their_layer_and_by_no_other(
    source: dict[str, Any], functions: dict[str, dict[str, Any]], imported: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    loaded = {name: HEAVY & set(json.loads(done.stdout)) for name, done in imported.items()}
    layered = {name for name, p in functions.items() if LAYERS["AnalyticsLayer"] in _layers(source, p)}

    assert layered
    assert loaded == {name: HEAVY if name in layered else set() for name in functions}  # 150 MB, worth it to each
