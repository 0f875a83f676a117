"""boto3 clients, made once a cold start; timeouts lie below those of the functions that use them (F32)."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(connect_timeout=2, read_timeout=10, retries={"mode": "standard", "max_attempts": 4})
_RUNTIME_CONFIG = Config(connect_timeout=2, read_timeout=65, retries={"mode": "standard", "max_attempts": 1})


@cache
def client(service: str) -> Any:
    """Return the process's client of an AWS service."""
    make: Any = boto3.client  # its overloads take literal names only
    return make(service, config=_RUNTIME_CONFIG if service == "sagemaker-runtime" else _CONFIG)


def error_code(error: Exception) -> str:
    """Return the AWS error code of a botocore ClientError, or an empty string."""
    response = getattr(error, "response", None) or {}
    code = response.get("Error", {}).get("Code", "")
    return str(code).split("#")[-1]
