"""`python -m local up | demo | status | down`: the local stack for hand use, in real time unless told otherwise."""

from __future__ import annotations

import argparse
import sys

from local.stack import ROOT, STATE, DeployError, Stack

_NAME = "linnet"


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the stack and deploy template.yaml into it")
    up.add_argument(
        "--rate", type=float, default=1.0, help="how much faster deliberate waiting runs (default: real time)"
    )
    up.add_argument("--port", type=int, default=0, help="default: a free one")
    commands.add_parser("demo", help="play the whole story on a stack of its own")
    commands.add_parser("status", help="say what runs")
    commands.add_parser("down", help="end the stack")
    options = parser.parse_args()
    sys.exit({"up": _up, "demo": _demo, "status": _status, "down": _down}[options.command](options))


def _up(options: argparse.Namespace) -> int:
    stack = Stack.running(STATE)
    if stack is None:
        stack = Stack.start(rate=options.rate, port=options.port, state=STATE, attached=False)
    try:
        stack.deploy(ROOT / "template.yaml", _NAME)
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
    _show(stack)
    return 0


def _demo(_: argparse.Namespace) -> int:
    from local.story import tell

    return tell()


def _status(_: argparse.Namespace) -> int:
    stack = Stack.running(STATE)
    if stack is None:
        print("No local stack is running; `make up` starts one.")
        return 1
    _show(stack)
    return 0


def _down(_: argparse.Namespace) -> int:
    stack = Stack.running(STATE)
    if stack is None:
        STATE.unlink(missing_ok=True)
        print("No local stack is running.")
        return 0
    stack.stop()
    print(f"Ended the local stack (process {stack.pid}).")
    return 0


def _show(stack: Stack) -> None:
    print(f"AWS_ENDPOINT_URL={stack.endpoint}")
    print("AWS_DEFAULT_REGION=us-east-1\nAWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY=test")
    print(f"# process {stack.pid}, clock x{stack.clock.rate:g}, log {STATE.with_suffix('.log')}")
    print(f"# the stack's time is {stack.clock.now():%Y-%m-%d %H:%M:%S} UTC")
    for key, value in sorted(stack.outputs(_NAME).items()):
        print(f"# {key}: {value}")


if __name__ == "__main__":
    main()
