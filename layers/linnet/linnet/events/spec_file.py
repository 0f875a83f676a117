"""From the bytes of a spec file to its document: YAML in its safe part, and nothing that reads two ways."""

from __future__ import annotations

from typing import Any

import yaml

from linnet.errors import BadInputError

_DEEPEST = 20


def read_yaml(content: bytes) -> Any:
    """Return the document of a YAML (or JSON) file.

    Raises:
        BadInputError: it is not UTF-8 or not one YAML document; it has an alias (which a few lines may blow up to
            gigabytes), a key twice (of which all but one would be lost), a tag, or nests too deeply. Names the line.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError("spec file", f"byte {error.start}", "text in UTF-8") from None
    try:
        _check_events(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is not None:
            _check_keys(root)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else "the file"
        raise BadInputError("spec file", f"{where}: {error.problem}", "one YAML document") from None
    except yaml.YAMLError as error:
        raise BadInputError("spec file", str(error)[:100], "one YAML document") from None
    except ValueError as error:  # a date such as 2026-13-45
        raise BadInputError("spec file", str(error)[:100], "values that YAML can read; quote what is text") from None


def _check_events(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            raise BadInputError("spec file", f"line {line}: alias *{event.anchor}", "no aliases: write the value out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise BadInputError("spec file", f"line {line}: tag {tag}", "no tags: plain values")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise BadInputError("spec file", f"line {line}: nested {depth} deep", f"at most {_DEEPEST}")
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_keys(node: yaml.Node) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise BadInputError("spec file", f"line {_line(key)}: a key that is no text", "plain keys")
            if key.value in seen:
                raise BadInputError("spec file", f"line {_line(key)}: {key.value} again", "every key once")
            seen.add(key.value)
            _check_keys(value)


def _line(part: yaml.Event | yaml.Node) -> int:
    return part.start_mark.line + 1 if part.start_mark else 0
