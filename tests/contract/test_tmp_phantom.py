from tests.contract.test_intake import *
from tests.contract.test_intake import intake, world, wakes, wake, sample, put_batch, reasons
from linnet.gateways import runs
import pytest
def test_one_request_after_end(intake):
    """a run start that fails: how many runs by phantom."""
    from models.flights import data as flights
    wake(put_batch(intake, "2013-01", flights.batch(rows=50)))
    wakes("on_signal.request")
    a = runs.take_slot(MODEL, "E1", "2026-11-21T02:00:01Z", "c1")
    b = runs.take_slot(MODEL, "E2", "2026-11-21T02:00:01Z", reasons()[0]["signal"]["id"])
    n = len(intake.started("retrain"))
    runs.close(MODEL, a["run"], "E1", "2026-11-21T03:00:01Z", "failed", "x", correlation_id="c")
    print("started before", n, "after", len(intake.started("retrain")), intake.started("retrain")[-1:])
    assert 0
