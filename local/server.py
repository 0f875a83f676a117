"""The stack's process: the emulator on a loopback port, on the fast clock, with its patches and Linnet's SageMaker.

    python -m local.server --rate 60 --state build/stack.json

It holds a lock on the state file as long as it lives; that is how others know that the recorded pid is this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from local import permissions
from local.clock import WallClock

ACCOUNT = "000000000000"
REGION = "us-east-1"


def main() -> None:
    """Serve until SIGTERM, SIGINT or, when attached, until the parent closes our standard input."""
    parser = argparse.ArgumentParser(prog="python -m local.server")
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--port", type=int, default=0, help="0 lets the operating system choose")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--attached", action="store_true", help="end with the parent process")
    parser.add_argument("--also", default="", help="a second address to listen on, for containers: the Docker bridge's")
    parser.add_argument("--pristine", action="store_true", help="the emulator as published, to see what it still lacks")
    parser.add_argument("--calls", type=Path, help="evaluate IAM and write each kind of call to this file")
    options = parser.parse_args()

    clock = WallClock(options.rate, time.time())
    listeners = [_listener("127.0.0.1", options.port)]
    port = listeners[0].getsockname()[1]
    listeners += [_listener(options.also, port)] if options.also else []
    # The emulator reads its settings while it is imported.
    os.environ.update(
        GATEWAY_PORT=str(port), BIND_HOST="127.0.0.1", IOT_MTLS_ENABLED="0", SFTP_ENABLED="0", LOG_LEVEL="WARNING"
    )
    if options.calls:
        os.environ["AUTH"] = "true"
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not options.pristine:
        clock.install()
    close = _extend(clock, options.state.parent) if not options.pristine else _nothing
    if options.calls:
        permissions.evaluate(options.calls)
    state = {"endpoint": f"http://127.0.0.1:{port}", "pid": os.getpid(), "rate": clock.rate, "origin": clock.origin}
    lock = _locked(options.state)
    try:
        asyncio.run(_serve(listeners, options.attached, lambda: _record(lock, state)))
    finally:
        with contextlib.suppress(FileNotFoundError):
            options.state.unlink()
        close()
        _end_workers()
        logging.shutdown()
        # Executions that wait for a token hold threads which nothing wakes; the interpreter would join them for ever.
        os._exit(0)


def _listener(address: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    return listener


def _extend(clock: WallClock, build: Path) -> Callable[[], None]:
    from local import autoscaling, patches
    from local.sagemaker import service

    patches.apply(clock)
    autoscaling.register()
    return service.register(clock, build)


def _nothing() -> None:
    """Close nothing."""


def _locked(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"{path}: a stack is already running; `make down` ends it")
    os.ftruncate(descriptor, 0)
    return descriptor


def _record(descriptor: int, state: dict[str, object]) -> None:
    os.pwrite(descriptor, json.dumps(state).encode() + b"\n", 0)


async def _serve(listeners: list[socket.socket], attached: bool, ready: Callable[[], None]) -> None:  # noqa: FBT001
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    if attached:
        threading.Thread(target=_watch_parent, args=(loop, stop), daemon=True).start()
    config = Config()
    config.bind = [f"fd://{listener.fileno()}" for listener in listeners]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    for listener in listeners:
        listener.listen(128)

    async def started(
        scope: dict[str, object], receive: Callable[[], object], send: Callable[[object], object]
    ) -> None:
        if scope["type"] == "lifespan":
            sending = send

            async def send_and_tell(message: dict[str, object]) -> None:
                await sending(message)  # type: ignore[misc]
                if message["type"] == "lifespan.startup.complete":
                    ready()

            send = send_and_tell  # type: ignore[assignment]
        await app.app(scope, receive, send)

    await serve(started, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.read()
    loop.call_soon_threadsafe(stop.set)


def _end_workers() -> None:
    runtime = sys.modules.get("ministack.core.lambda_runtime")
    if runtime is not None:
        runtime.reset()


if __name__ == "__main__":
    main()
