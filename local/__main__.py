"""`python -m local up | demo | status | trouble | down`: the local stack for hand use, in real time unless told otherwise."""

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
    trouble = commands.add_parser("trouble", help="let happen what only fate does on AWS")
    happens = trouble.add_subparsers(dest="what", required=True)
    spot = happens.add_parser("interrupt_training_job", help="take a spot job's instance away")
    spot.add_argument("name", help="of the training job")
    stuck = happens.add_parser("fail_next_rollback", help="let an endpoint's next rollback fail")
    stuck.add_argument("endpoint")
    patched = happens.add_parser("system_update", help="put an endpoint into SystemUpdating")
    patched.add_argument("endpoint")
    patched.add_argument("--seconds", type=float, default=60.0, help="on the stack's clock (default: 60)")
    refused = happens.add_parser("refuse_calls", help="refuse the next calls of a SageMaker operation")
    refused.add_argument("operation", help="such as CreateTrainingJob")
    refused.add_argument("code", choices=("ThrottlingException", "ResourceLimitExceeded", "AccessDeniedException"))
    refused.add_argument("--times", type=int, default=1)
    lost = happens.add_parser("lose_answers", help="carry out the next calls of a SageMaker operation unheard")
    lost.add_argument("operation", help="such as CreateTrainingJob")
    lost.add_argument("--times", type=int, default=1)
    commands.add_parser("down", help="end the stack")
    options = parser.parse_args()
    does = {"up": _up, "demo": _demo, "status": _status, "trouble": _trouble, "down": _down}
    sys.exit(does[options.command](options))


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


def _trouble(options: argparse.Namespace) -> int:
    stack = Stack.running(STATE)
    if stack is None:
        print("No local stack is running; `make up` starts one.")
        return 1
    given = {key: value for key, value in vars(options).items() if key not in ("command", "what")}
    why_not = stack.trouble(options.what, **given)
    print(why_not or f"Done: {options.what} {given}.")
    return int(bool(why_not))


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
