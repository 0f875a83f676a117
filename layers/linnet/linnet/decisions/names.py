"""Names are functions of intent: the same intent gives the same name, so that a repeated create finds its own work (F28, F45).

SageMaker's create calls take no idempotency token; a name is the only one there is.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

MODEL_PATTERN = r"^[a-z][a-z0-9]{0,15}(-[a-z0-9]{1,15}){0,2}$"
MODEL_LENGTH = 20
_NAME_WORDS = 3
COLOURS = ("blue", "green")


def digest(*parts: Any) -> str:
    """Return 12 hex characters of the SHA-256 of `parts` as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def valid_model(name: str) -> bool:
    """Say whether `name` may name a model: lower case, digits and single hyphens, at most 20 characters."""
    return len(name) <= MODEL_LENGTH and re.fullmatch(MODEL_PATTERN, name) is not None


def run_id(model: str, execution: str) -> str:
    """Return the id of the run that an execution of `retrain` is: short, because jobs' names end at 63 characters."""
    return "r" + digest(model, execution)[:10]


def base(stack: str, model: str) -> str:
    """Return the name of a model's package group and of its endpoint, and the prefix of all else it has."""
    return f"{stack}-{model}"


def job(stack: str, model: str, run: str, purpose: str = "") -> str:
    """Return the name of a training (no purpose), transform or processing job of a run."""
    return "-".join(filter(None, (base(stack, model), run, purpose)))


def sagemaker_model(stack: str, model: str, version: int) -> str:
    """Return the name of the SageMaker model that serves a package version."""
    return f"{base(stack, model)}-v{version}"


def endpoint_config(stack: str, model: str, version: int, fence: int, stage: str = "") -> str:
    """Return the name of a release's endpoint config; `stage` ends that of a stage before the last, such as `-both`."""
    return f"{base(stack, model)}-v{version}-f{fence}{stage}"


def fence_of(config: str) -> int | None:
    """Return the fence of the release that made an endpoint config, None where the name is not one of ours."""
    found = re.fullmatch(r".+-v\d+-f(\d+)(-both|-shadow)?", config)
    return int(found[1]) if found else None


def other_colour(variant: str) -> str:
    """Return the variant name that a challenger beside `variant` takes."""
    return COLOURS[1] if variant == COLOURS[0] else COLOURS[0]


def possible_models(stack: str, resource: str) -> list[str]:
    """Return the models that `<stack>-<model>[-...]` may belong to, the longest name first."""
    words = resource.removeprefix(f"{stack}-").split("-") if resource.startswith(f"{stack}-") else []
    rising = ("-".join(words[:count]) for count in range(1, min(len(words), _NAME_WORDS) + 1))
    return [name for name in rising if valid_model(name)][::-1]
