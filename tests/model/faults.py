"""Crashes, lost answers and throttles at any AWS call, and what must hold once all is quiet again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from linnet.decisions.rollout import CHANGING
from linnet.errors import BusyError, LinnetError
from linnet.events.aws import PackageDetail
from linnet.gateways import cleanup, endings, judging, leases, ledger, registry
from tests.model.aws import ENDPOINT, GROUP, MODEL, Lost, refusal
from tests.model.world import Execution, World

QUICK: dict[str, Any] = {
    "wait_seconds": 240, "termination_wait_seconds": 60, "canary_percent": 50, "deadline_seconds": 120, "probes": 2,
    "health": {"min_requests": 2, "alarm_periods": 1}, "shadow_seconds": 60, "margins": {"agreement": 0.9},
    "watch_hours": 1,
}  # fmt: skip
LADDER = {"ladder": [50, 100], "waits": [60, 60]}
STRATEGIES = ("canary", "linear", "all_at_once", "stepped", "shadow", "multi_stage")
_READS = ("describe_", "get_", "list_", "query")
_ENDS = ("release-finished", "rolled-back", "release-held")
_RETRIES = 3


class Crash(BaseException):
    """The function is gone in the middle: nothing in it may catch this."""


def failing(number: int, moment: str, fault: Callable[[str], BaseException]) -> Callable[[str, str], None]:
    """Return a tap that fails call `number`, counted from 0, before or after it is carried out; once."""
    seen = {"before": 0, "after": 0}

    def tap(method: str, when: str) -> None:
        seen[when] += 1
        if when == moment and seen[when] == number + 1:
            raise fault(method)

    return tap


FAULTS: dict[str, Callable[[str], BaseException]] = {
    "crash": lambda _: Crash(), "lost": lambda _: Lost(), "throttle": lambda m: refusal("ThrottlingException", m),
}  # fmt: skip


class Stage:
    """A world in play: the executions that somebody started, the roads they take, and the checks at the end."""

    def __init__(self, world: World, strategy: str = "canary", **rollout: Any) -> None:
        self.world = world
        more = LADDER if strategy in ("stepped", "multi_stage") else {}
        world.onboard(rollout={**QUICK, "strategy": strategy, **more, **rollout})
        self.executions: list[Execution] = []
        self.failures: dict[str, int] = {}
        self.written: list[str] = []

    def approved(self, behaviour: Any = None, status: str = "Approved") -> int:
        """Register a candidate, let the registry say so, and deliver the event; return its version."""
        arn, version = self.world.register(behaviour) if behaviour else self.world.register()
        self.world.approve(arn, status)
        self.observe(arn)
        return version

    def observe(self, arn: str) -> None:
        """Deliver the event of a package's change."""
        detail = PackageDetail(ModelPackageArn=arn, ModelPackageGroupName=GROUP)
        registry.observe(detail, f"event-{arn}", self.world.at)
        self.adopt()

    def adopt(self) -> None:
        """Let what was started run."""
        mine = {e.name for e in self.all}
        for name, started in self.world.states.started.items():
            if name in mine:
                continue
            given, kind = dict(started["input"]), "rollback" if "rollback" in started["machine"] else "release"
            version = given.get("to_version", given.get("version"))
            more: dict[str, Any] = {"reason": given.get("reason", ""), "serving": given.get("serving")}
            if kind == "rollback" and version is not None:
                kind, more = "release", more | {"back": True}
            elif kind == "rollback":
                more["handed"] = given.get("lease")
            execution = Execution(self.world, name, kind=kind, version=version, **more)
            execution.rate = 40
            self.executions.append(execution)

    @property
    def all(self) -> list[Execution]:
        """Every execution, the children too."""
        return [*self.executions, *(e.child for e in self.executions if e.child)]

    def step(self, execution: Execution) -> None:
        """Do one state as its Retry and Catch have it; only a Crash goes on to the caller."""
        before = (execution.next, execution.child.next if execution.child else "")
        try:
            execution.step()
        except BusyError as error:
            self.world.lab.clock.advance(30)
            self._failed(execution, error, 480)
        except LinnetError as error:
            execution.caught(error)
        except Exception as error:
            if not isinstance(error, ClientError | Lost):
                raise
            self._failed(execution, error, _RETRIES)
        if before != (execution.next, execution.child.next if execution.child else ""):
            self.failures.pop(execution.name, None)
        self.adopt()

    def _failed(self, execution: Execution, error: Exception, most: int) -> None:
        self.failures[execution.name] = self.failures.get(execution.name, 0) + 1
        if self.failures[execution.name] > most:
            execution.caught(error)

    def abort(self, execution: Execution) -> None:
        """End an execution from outside, and the child it waits for."""
        for one in (execution, execution.child):
            if one and one.lives:
                one.end("aborted")

    def play(self) -> None:
        """Step everything that lives to its end, in turns."""
        for _ in range(3000):
            live = [e for e in self.executions if e.lives]
            if not live:
                return
            for execution in live:
                self.step(execution)
        raise AssertionError([(e.name, e.next, e.why) for e in self.executions if e.lives])

    def quiet(self) -> None:
        """Wait until SageMaker has come to rest."""
        for _ in range(200):
            self.world.lab.clock.advance(300)
            found = self.world.lab.sagemaker._endpoints._endpoints.get(ENDPOINT)
            if found is None or found.status not in CHANGING:
                return
        raise AssertionError("SageMaker does not come to rest")

    def reconcile(self) -> None:
        """Do all that the schedule and the ends of executions do, and play what that starts."""
        for execution in self.all:
            if not execution.lives and execution.outcome not in ("promoted", "nothing to do"):
                endings.abandon(execution.arn, execution.name, {"model": MODEL}, self.world.at)
        self._then_play()
        registry.reconcile(MODEL, self.world.at)
        self._then_play()
        judging.watch(MODEL, self.world.at)
        self._then_play()
        cleanup.clean(MODEL, self.world.at)

    def _then_play(self) -> None:
        self.adopt()
        self.play()

    def converges(self, *, later: int = 0) -> None:
        """Check I8: once all is quiet one pass converges and a second one writes nothing."""
        self.world.lose, self.world.tap = "", None
        self.play()
        self.quiet()
        self.world.lab.clock.advance(later)
        self.reconcile()
        self.quiet()
        judging.watch(MODEL, self.world.at)  # time has passed: what the looks at a champion see has changed with it
        self._then_play()
        self.written = []
        self.world.tap = self._note
        self.reconcile()
        self.world.tap = None
        assert self.written == [], self.written

    def _note(self, method: str, moment: str) -> None:
        if moment == "after" and not method.startswith(_READS):
            self.written.append(method)

    # -- what must hold ------------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """Return the releases' rows."""
        return list(ledger.query(f"model/{MODEL}", "release#"))

    def check_changes(self) -> None:
        """I3, F44: no change is made with a fence below one that was given out, and none goes back."""
        stale = [change for change in self.world.changes if change.fence < change.newest]
        assert stale == [], stale
        fences = [change.fence for change in self.world.changes]
        assert fences == sorted(fences), fences

    def check_owner(self) -> None:
        """I1: at most one execution may change the endpoint."""
        able = [e.name for e in self.all if e.fence and leases.held_by(ENDPOINT, e.arn) == e.fence]
        assert len(able) <= 1, able

    def check_serves(self, foreign: tuple[str, ...] = ()) -> None:
        """I2: what serves is some release's own config, or what somebody else put there."""
        found = self.world.lab.sagemaker._endpoints._endpoints.get(ENDPOINT)
        known = {row["plan"][what] for row in self.rows() for what in ("target", "both", "mirror")}
        assert found is None or found.record["EndpointConfigName"] in known | set(foreign)

    def check_end(self, *, held: bool = False) -> None:
        """What must hold when nothing runs any more; `held`: a person was asked to look, the endpoint may be elsewhere."""
        self.check_changes()
        assert leases.holder(ENDPOINT) is None  # I9
        champion, rows = self.world.champion(), self.rows()
        found = self.world.lab.sagemaker._endpoints._endpoints.get(ENDPOINT)
        if not held:
            assert champion.get("config") == (found.record["EndpointConfigName"] if found else None)
        told = list(ledger.history(f"model/{MODEL}"))
        for row in rows:
            assert row["state"] in ("promoted", "rolled back", "held"), row["state"]  # I10
            entries = [e for e in told if (e["kind"], e["key"]) == ("release", str(row["fence"]))]
            assert len(entries) == 1 or ("undone_by" in row and not entries), (row["fence"], entries)
            proofs = {f"release#{fence:06d}" for fence in (row["fence"], row.get("undone_by")) if fence}
            ends = [m for m in self.world.messages if m["kind"] in _ENDS]
            assert any(proof in m["proof"] for m in ends for proof in proofs), row["fence"]

    def check_alarms(self) -> None:
        """The alarms of ended releases are gone, a day after their end at the latest."""
        over = {alarm for row in self.rows() if row["state"] != "intent" for alarm in row["plan"]["alarms"]}
        assert over & self.world.cloudwatch.requests.keys() == set()
