from __future__ import annotations

import pytest

from tests.sagemaker.doubles import Lab


@pytest.fixture
def lab() -> Lab:
    return Lab()
