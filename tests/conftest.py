"""What holds for every test."""

from __future__ import annotations

import functools
from typing import Any

import botocore.session
from hypothesis import settings
from moto.core import serialize

# An example that took long on a busy machine is no broken promise: no test asserts wall time.
settings.register_profile("linnet", deadline=None)
settings.load_profile("linnet")

# Every account of moto's is a new boto3 session, and every session would read the models of the services anew.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)

_pick = serialize.AttributePicker.__call__


def _pick_attribute(self: serialize.AttributePicker, context: serialize.AttributePickerContext) -> Any:
    """Take a DynamoDB value's ten kinds as they are named: moto looks for each by six names, most of a test's time."""
    parent = getattr(context.shape, "parent", None)
    if isinstance(context.obj, dict) and getattr(parent, "name", "") == "AttributeValue":
        return context.obj.get(context.key)
    return _pick(self, context)


serialize.AttributePicker.__call__ = _pick_attribute  # type: ignore[method-assign]
