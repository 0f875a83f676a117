"""An account in which models are released: tests/model's world, which `release`, `rollback` and `watch` change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from linnet.gateways import ledger
from tests.machines.outside import Outside
from tests.machines.player import ACCOUNT
from tests.model.faults import LADDER, QUICK
from tests.model.world import World


class Serving(Outside):
    """Plays releases; callers call all the while."""

    def __init__(self, world: World, strategy: str, **rollout: Any) -> None:
        super().__init__(world.lab)
        self.world, self.rate = world, 40
        world.onboard(rollout={**QUICK, "strategy": strategy, **(LADDER if strategy == "stepped" else {}), **rollout})

    def advance(self, seconds: float) -> None:
        """Let time pass; callers call once there is something to call."""
        left = seconds
        while left > 0:
            if self.world.champion():
                self.world.traffic(self.rate // 2)
            self.lab.clock.advance(min(30.0, left))
            left -= 30

    def began(self, kind: str, name: str) -> None:
        """Let it run."""
        self.world.states.running.add(f"{ACCOUNT}:execution:linnet-{kind}:{name}")

    def ended(self, kind: str, name: str) -> None:
        """Let it have ended."""
        arn = f"{ACCOUNT}:execution:linnet-{kind}:{name}"
        self.world.states.running.discard(arn)
        self.world.states.ended.add(arn)

    def calling(self, payload: dict[str, Any]) -> None:
        """Say in whose name the function acts."""
        self.world.actor = int(
            payload.get("fence") or (ledger.read("endpoint/linnet-flights", "lease") or {}).get("fence", 0)
        )

    def approved(self, behaviour: Any = None) -> int:
        """Register a candidate that behaves so, approved; return its version."""
        arn, version = self.world.register(behaviour) if behaviour else self.world.register()
        self.world.approve(arn)
        return version

    def release(self, behaviour: Any = None, **more: Any) -> Any:
        """Approve a candidate and play its release."""
        version = self.approved(behaviour)
        return self.play("release", {"model": "flights", "version": version, **more}, f"v{version}-{len(self.plays)}")

    def rollback(self, **given: Any) -> Any:
        """Play a rollback that a person asks for."""
        return self.play(
            "rollback", {"model": "flights", "reason": "wrong answers", **given}, f"by-hand-{len(self.plays)}"
        )


@contextmanager
def serving(strategy: str = "canary", **rollout: Any) -> Iterator[Serving]:
    """Open an account with an onboarded model."""
    with World(quick=True).open() as world:
        yield Serving(world, strategy, **rollout)
