"""How patches are made: a checked replacement of lines in a function or a text, and threads of our own."""

from __future__ import annotations

import inspect
import linecache
import logging
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ministack.core import responses

_LOG = logging.getLogger(__name__)


class PatchError(RuntimeError):
    """The emulator's code is not what a patch was written for."""


def _blocks(change: tuple[str, str]) -> tuple[str, str]:
    """Return a change's texts without the line break that lets a block of lines begin on a line of its own."""
    return change[0].removeprefix("\n"), change[1].removeprefix("\n")


def edit(owner: Any, name: str, *changes: tuple[str, str], **names: Any) -> None:
    """Replace text inside `owner.name`; `names` become visible to the new text as globals of the emulator's module."""
    function = vars(owner)[name]
    source = getattr(function, "patched_source", None) or textwrap.dedent(inspect.getsource(function))
    for old, new in map(_blocks, changes):
        if source.count(old) != 1:
            message = f"{function.__module__}.{name}: {source.count(old)} places instead of 1 hold {old!r}"
            raise PatchError(message)
        source = source.replace(old, new)
    function.__globals__.update(names)
    made: dict[str, Any] = {}
    file = f"<patched {function.__module__}.{function.__qualname__}>"
    exec(compile(source, file, "exec"), function.__globals__, made)  # noqa: S102 - the emulator's own source # nosec B102
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)  # for tracebacks
    made[name].patched_source = source  # several patches may change one function
    setattr(owner, name, made[name])


def edit_text(owner: ModuleType, name: str, *changes: tuple[str, str]) -> None:
    """Replace text inside the string `owner.name`."""
    text = getattr(owner, name)
    for old, new in map(_blocks, changes):
        if text.count(old) != 1:
            message = f"{owner.__name__}.{name}: {text.count(old)} places instead of 1 hold {old!r}"
            raise PatchError(message)
        text = text.replace(old, new)
    setattr(owner, name, text)


@contextmanager
def scope(account: str, region: str) -> Iterator[None]:
    """Act for one account and region, as a request of theirs would."""
    before = responses.get_account_id(), responses.get_region()
    responses.set_request_account_id(account)
    responses.set_request_region(region)
    try:
        yield
    finally:
        responses.set_request_account_id(before[0])
        responses.set_request_region(before[1])


def background(name: str, seconds: float, call: Callable[[], None]) -> None:
    """Call `call` every `seconds` real seconds in a thread of its own, for ever."""

    def loop() -> None:
        while True:
            time.sleep(seconds)
            try:
                call()
            except Exception:
                _LOG.exception("%s failed", name)

    threading.Thread(target=loop, name=name, daemon=True).start()
