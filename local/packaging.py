"""What `sam build` and `aws cloudformation package` do, for the local stack: folders become zips, paths become S3 URIs.

Dependencies are not installed: handlers run with the emulator's interpreter, whose site-packages hold them.
"""

from __future__ import annotations

import hashlib
import io
import json
import py_compile
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

_FOLDERS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
_SKIPPED = {"__pycache__", "requirements.in", "requirements.txt"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as the intrinsic functions they stand for."""


def _intrinsic(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        message = f"!{suffix}: {node} is no argument of an intrinsic function"
        raise TypeError(message)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def load_template(path: Path) -> dict[str, Any]:
    """Return a CloudFormation template with its short tags written out.

    Raises:
        ValueError: when the file is not a YAML mapping.
    """
    template = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader with tags # nosec B506
    if not isinstance(template, dict):
        message = f"{path}: a template is a mapping, this is {type(template).__name__}"
        raise ValueError(message)  # noqa: TRY004 - the content is wrong, not the argument
    return template


def package(path: Path, put: Callable[[str, bytes], str]) -> dict[str, Any]:
    """Return the template with every local path uploaded and replaced.

    `put` stores bytes under a key and returns their `s3://` URI. Keys are content digests, so that an unchanged
    folder is an unchanged resource.

    Raises:
        FileNotFoundError: when a path in the template does not exist; names the resource.
    """
    template = load_template(path)
    for name, resource in template.get("Resources", {}).items():
        kind, properties = resource.get("Type"), resource.get("Properties", {})
        source = properties.get(_FOLDERS.get(kind, "DefinitionUri"))
        if not isinstance(source, str) or source.startswith("s3://"):
            continue
        local = path.parent / source
        if not local.exists():
            message = f"{name}: {source} does not exist beside {path}"
            raise FileNotFoundError(message)
        if kind in _FOLDERS:
            built_layer = kind.endswith("LayerVersion") and "BuildMethod" in resource.get("Metadata", {})
            body, suffix = zip_folder(local, prefix="python/" if built_layer else ""), "zip"
        elif kind == "AWS::Serverless::StateMachine":
            body, suffix = local.read_bytes(), "asl.json"
        else:
            continue
        properties[_FOLDERS.get(kind, "DefinitionUri")] = put(f"{hashlib.sha256(body).hexdigest()}.{suffix}", body)
    return template


def zip_folder(folder: Path, prefix: str = "") -> bytes:
    """Return a zip that is byte-identical for identical content, with Python sources already compiled.

    A sandbox starts from a fresh copy of the zip; without the compiled files every cold start would compile again.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(
            zipfile.ZipInfo(prefix or "./", _EPOCH), b""
        )  # never an empty zip: some folders only have pins
        for file in _files(folder):
            name = prefix + file.relative_to(folder).as_posix()
            _add(archive, name, file.read_bytes())
            if file.suffix == ".py":
                parent, _, leaf = name.rpartition("/")
                compiled = f"{leaf.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc"
                _add(archive, "/".join(filter(None, [parent, "__pycache__", compiled])), _compiled(file))
    return buffer.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not _SKIPPED.intersection(file.relative_to(folder).parts):
            yield file


def _add(archive: zipfile.ZipFile, name: str, body: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, body, zipfile.ZIP_DEFLATED)


def _compiled(file: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "compiled.pyc")
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # independent of file times
        py_compile.compile(str(file), str(target), dfile=file.name, doraise=True, invalidation_mode=mode)
        return target.read_bytes()


def to_json(template: dict[str, Any]) -> str:
    """Return the template as JSON, in the order it was written (SAM's logical ids depend on content, not on order)."""
    return json.dumps(template, default=str)
