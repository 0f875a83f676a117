"""A shard of a large window of live traffic: profiles its files, so that they can be put together (MO-02)."""

from __future__ import annotations

from typing import Any

from linnet.data import shards
from linnet.handling import task


@task
def handler(event: dict[str, Any], context: Any) -> None:
    """Take `{model, correlation_id, work, shard: {number, files}}`; the profile lies below `work` then."""
    shards.profile_shard(event["work"], int(event["shard"]["number"]), event["shard"]["files"])
