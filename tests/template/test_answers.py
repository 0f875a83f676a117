"""events/answers.yaml, which `scripts/sam-check` plays: every function is in it, once, with a sample that exists."""

from __future__ import annotations

from typing import Any

import yaml

from tests.template.conftest import ROOT


def test_every_function_has_one_documented_answer_to_a_sample_of_its_own(source: dict[str, Any]) -> None:
    document = yaml.safe_load((ROOT / "events" / "answers.yaml").read_text())
    listed = [(name, told) for stage in document.values() for group in stage for name, told in group.items()]
    folders = {
        name: r["Properties"]["CodeUri"].removeprefix("functions/")
        for name, r in source["Resources"].items()
        if r["Type"] == "AWS::Serverless::Function"
    }

    assert sorted(name for name, _ in listed) == sorted(folders)
    for name, told in listed:
        assert told["event"].partition(".")[0] == folders[name]
        assert (ROOT / "events" / f"{told['event']}.json").exists()
        assert set(told) - {"event"} in ({"gives"}, {"raises", "says"})
