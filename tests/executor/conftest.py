from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.sagemaker.executor import Patience, sandbox
from tests.executor.doubles import Lab, xgboost_request


@pytest.fixture
def new_lab(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    made: list[Lab] = []

    def make(**settings: Any) -> Lab:
        made.append(Lab(tmp_path / f"work{len(made)}", **settings))
        return made[-1]

    yield make
    for lab in made:
        lab.executor.close()
        assert not list(lab.directory.glob("*")), "a job or model left files behind"


@pytest.fixture
def lab(new_lab: Callable[..., Lab]) -> Lab:
    return new_lab(patience=Patience(startup=30, answer=20))


@pytest.fixture(params=["isolated", "redirected"])
def either_lab(request: pytest.FixtureRequest, new_lab: Callable[..., Lab]) -> Lab:
    """With a mount namespace where the machine allows one, and without."""
    isolated = request.param == "isolated"
    if isolated and not sandbox.available():
        pytest.skip("no mount namespace is allowed on this machine")
    return new_lab(isolated=isolated)


@pytest.fixture(scope="session")
def xgboost_model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model.tar.gz of the built-in algorithm."""
    lab = Lab(tmp_path_factory.mktemp("model"))
    outcome, _ = lab.run("training", xgboost_request(lab, "trained"))
    assert outcome.status == "Completed", outcome
    return lab.aws.objects[outcome.model_artifacts]
