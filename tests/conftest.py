"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# An example that took long on a busy machine is no broken promise: no test asserts wall time.
settings.register_profile("linnet", deadline=None)
settings.load_profile("linnet")
