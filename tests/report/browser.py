"""A real browser by its DevTools protocol over two pipes: standard library only, nothing listens on a port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

INSTALL = "sudo apt-get install --no-install-recommends chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 120
"""Seconds without an answer after which a browser is given up: a bound on a hang, no promise of speed."""
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One browser with one open page; `events` are all that it told meanwhile."""

    def __init__(self, folder: Path) -> None:
        found = next(filter(None, map(shutil.which, _NAMES)), None)
        if found is None:
            pytest.fail(f"these tests need a browser, and none of {', '.join(_NAMES)} is here. Type: {INSTALL}")
        theirs, self._out = os.pipe()
        self._in, back = os.pipe()
        command = f'exec "$0" "$@" 3<&{theirs} 4>&{back}'
        options = [*_QUIET, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, found, *options], pass_fds=(theirs, back), stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(back)
        self.events: list[dict[str, Any]] = []
        self._unread, self._count, self._session = b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, page: Path, width: int, height: int, *, scheme: str = "light") -> None:
        """Show a file in a window of this size, as a phone where it is narrow; return when it has loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def shot(self, *, whole: bool = False) -> bytes:
        """Return the window, or the whole page, as a PNG."""
        return base64.b64decode(
            self.call("Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole))["data"]
        )

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": size | {"scale": 1}}

    def call(self, method: str, **given: Any) -> dict[str, Any]:
        """Return the answer to a command of the protocol."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, (method, answer)
        return dict(answer["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], _PATIENCE)
            part = os.read(self._in, 1 << 20) if ready else b""
            assert part, f"the browser ended or said nothing for {_PATIENCE} seconds"
            self._unread += part
        one, _, self._unread = self._unread.partition(b"\0")
        return dict(json.loads(one))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # the browser ends when nobody can command it any more
        os.close(self._in)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
