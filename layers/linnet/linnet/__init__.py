"""Linnet: what all handlers share. Arrows: functions -> data, events, decisions, gateways, monitoring; decisions -> events."""

import functools
import gc

_USUAL = gc.get_threshold()
# Imports make 50,000 to 110,000 objects and no garbage; to look for it after each 700 is up to a tenth of a cold start.
gc.set_threshold(100_000)


@functools.cache
def imported() -> None:
    """Say that a program has imported all that it needs: from now on garbage is looked for as usual, but not among that.

    As the documentation of `gc.freeze` has it; the second call does nothing.
    """
    gc.freeze()
    gc.set_threshold(*_USUAL)
