"""What packaging does to a template: as `sam build` and `aws cloudformation package`, and always the same bytes."""

from __future__ import annotations

import io
import marshal
import os
import zipfile
from pathlib import Path

import pytest

from local.packaging import load_template, package, zip_folder
from tests.stack.conftest import APP

STORE: dict[str, bytes] = {}


def keep(key: str, body: bytes) -> str:
    STORE[key] = body
    return f"s3://bucket/{key}"


def names(body: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(body)).namelist()


def test_folders_and_definitions_become_uris_and_a_layer_lies_under_python() -> None:
    resources = package(APP, keep)["Resources"]
    function = STORE[resources["Hello"]["Properties"]["CodeUri"].removeprefix("s3://bucket/")]
    layer = STORE[resources["Shared"]["Properties"]["ContentUri"].removeprefix("s3://bucket/")]
    assert "app.py" in names(function)
    assert "python/shared/__init__.py" in names(layer)
    assert resources["Machine"]["Properties"]["DefinitionUri"].endswith(".asl.json")


def test_short_tags_are_read_as_the_functions_they_stand_for() -> None:
    resources = load_template(APP)["Resources"]
    assert resources["Machine"]["Properties"]["DefinitionSubstitutions"] == {"Hello": {"Fn::GetAtt": ["Hello", "Arn"]}}
    assert resources["Hello"]["Properties"]["FunctionName"] == {"Fn::Sub": "${AWS::StackName}-hello"}


def test_equal_content_is_equal_bytes_whatever_the_times_of_its_files(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "app.py").write_text("x = 1\n")
        (tmp_path / folder / "requirements.txt").write_text(folder)
    first = tmp_path / "a" / "deep" / "app.py"
    os.utime(first, (0, 0))
    assert zip_folder(tmp_path / "a") == zip_folder(tmp_path / "b")
    assert zip_folder(tmp_path / "a") != zip_folder(tmp_path / "a", prefix="python/")


def test_a_zip_holds_compiled_files_that_say_nothing_of_where_they_were_made(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(): ...\n")
    archive = zipfile.ZipFile(io.BytesIO(zip_folder(tmp_path)))
    (compiled,) = [name for name in archive.namelist() if name.endswith(".pyc")]
    code = marshal.loads(archive.read(compiled)[16:])  # noqa: S302 - our own bytes
    assert code.co_filename == "app.py"


def test_a_path_that_is_not_there_is_named_with_its_resource(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {F: {Type: 'AWS::Serverless::Function', Properties: {CodeUri: gone}}}")
    with pytest.raises(FileNotFoundError, match="F: gone does not exist"):
        package(template, keep)
    template.write_text("- 1")
    with pytest.raises(ValueError, match="a template is a mapping"):
        package(template, keep)
