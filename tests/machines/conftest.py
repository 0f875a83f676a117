"""Assertions in stories speak as those in tests do."""

from __future__ import annotations

import pytest

for _name in ("stories_release", "stories_run", "stories_account"):
    pytest.register_assert_rewrite(f"tests.machines.{_name}")
