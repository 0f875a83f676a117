"""Every change that Linnet makes to the emulator (ministack 1.5.33): one function each, with its reason.

Two tools: `edit` replaces lines inside an emulator function and refuses to start when they are not there exactly once,
so that a new emulator version cannot lose a patch silently; everything else is plain assignment.
tests/stack/test_patches_*.py show for each patch what the published emulator does instead.
"""

from __future__ import annotations

from local.clock import WallClock


def apply(clock: WallClock) -> None:
    """Apply all patches to this process's emulator. Call once, before it serves."""
    from local.patches import expressions, functions, metrics, rules, workflows

    functions.apply(clock)
    rules.apply(clock)
    metrics.apply(clock)
    workflows.apply(clock)
    expressions.apply()
