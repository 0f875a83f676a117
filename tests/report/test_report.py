"""What a report says, without a browser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linnet.decisions.report import MOST_BARS, MOST_PLOTS, MOST_ROWS, html, tone
from linnet.errors import BadInputError
from tests.report.documents import BIAS, DRIFTED, EVIL, HOSTILE, NO_DATA, NO_LABELS, QUIET, bars

CONSOLE = "https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/"


class Page(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.order: list[str] = []
        self.said = ""
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.order.append(tag)
        self.attributes += attrs
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.said += data + " "


def words(document: dict[str, Any]) -> str:
    return " ".join(Page(html(document)).said.split())


def test_a_report_tells_the_verdict_then_why_then_what_then_the_numbers_then_how() -> None:
    said = words(DRIFTED)

    order = [
        "The live data left their baseline", "Violation, severity High", "2026-11-21 09:00 to 10:00 UTC",
        "Released as version 7", "Trained by run r-20261115-4f2a91c07b", "Why", "3 features break 4 constraints.",
        "The largest drift is 0.4125, of amount.",
        "Baseline drift distance: 0.4125 exceeds threshold: 0.1", "Baseline against current", "drift 0.4125, threshold 0.1",
        "most changed: above 310 , 10.0 % to 30.0 %", "The numbers", "41,250", "How it was computed",
        "s3://linnet-data-123456789012/baselines/fraud/",
    ]  # fmt: skip
    places = [said.find(one) for one in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)


def test_run_and_release_are_linked_to_their_executions_and_nothing_else_leaves_the_page() -> None:
    attributes = Page(html(DRIFTED)).attributes

    assert [value for name, value in attributes if name == "href"] == [
        CONSOLE + DRIFTED["links"]["release"], CONSOLE + DRIFTED["links"]["run"],
    ]  # fmt: skip
    assert not {"src", "srcset", "style", "action", "xlink:href"} & {name for name, _ in attributes}
    assert "url(" not in html(DRIFTED)
    assert "@import" not in html(DRIFTED)
    china = html(DRIFTED | {"links": {"run": DRIFTED["links"]["run"].replace("arn:aws:", "arn:aws-cn:")}})
    assert 'href="https://eu-west-1.console.amazonaws.cn/states/' in china


def test_a_mean_shift_is_told_as_people_say_it_mo_03() -> None:
    assert "mean +258.8 %" in words(DRIFTED)


def test_the_same_finding_gives_the_same_bytes_whatever_the_order_of_its_keys() -> None:
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: backwards(value[name]) for name in reversed(value)}
        return [backwards(one) for one in value] if isinstance(value, list) else value

    stored = json.loads(json.dumps(DRIFTED))

    assert html(DRIFTED).encode() == html(stored).encode() == html(backwards(stored)).encode()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (QUIET, "good"),
        (QUIET | {"severity": "Low"}, "warn"),
        (QUIET | {"verdict": "DEGRADED"}, "warn"),
        (QUIET | {"verdict": "HEALTHY"}, "good"),
        (QUIET | {"verdict": "unknown"}, "unknown"),
        (QUIET | {"severity": "High"}, "bad"),
        (DRIFTED, "bad"),
        (DRIFTED | {"severity": None}, "warn"),
        (NO_DATA, "unknown"),
        (NO_LABELS, "unknown"),
        (NO_DATA | {"severity": "High", "verdict": "HEALTHY"}, "unknown"),
    ],
)
def test_what_is_not_known_is_never_shown_as_healthy_i7(document: dict[str, Any], expected: str) -> None:
    page, said = html(document), words(document)

    assert tone(document) == expected
    assert f'<main class="{expected}">' in page
    good = "is as good as" in said or "match their baseline" in said
    assert good == (expected == "good")
    assert ("Nobody knows" in said) == (expected == "unknown")


def test_too_few_rows_and_no_labels_say_what_was_missing() -> None:
    assert "40 rows were captured of the 100 that it takes" in words(NO_DATA)
    assert "None of 41,250 answers have a label yet" in words(NO_LABELS)
    assert "Too few of 41,250 answers have a label yet" in words(NO_LABELS | {"join_rate": 0.001})


def test_another_status_is_refused_and_not_guessed() -> None:
    with pytest.raises(BadInputError, match="status: 'Failed' is not allowed"):
        html(QUIET | {"status": "Failed"})
    with pytest.raises(BadInputError, match="model: None"):
        html(QUIET | {"model": None})


def test_what_makes_the_numbers_weaker_is_said_and_only_then() -> None:
    weak = QUIET | {
        "lines": {"read": 10, "bad": 1, "outside": 0, "odd_rows": 3}, "coverage": 0.5, "join_rate": 0.25, "resolution": 0.02,
    }  # fmt: skip

    said = words(weak)

    assert "1 captured line could not be read" in said
    assert "3 rows had another number of columns" in said
    assert "in 50.0 % of the window only" in said
    assert "25.0 % of the answers have a label" in said
    assert "Up to 2.0 % of a column's values count as one" in said
    assert "Read it with care" not in words(QUIET)
    assert "count as one" not in words(QUIET | {"resolution": 1 / 2048})


@pytest.mark.parametrize(
    ("name", "text"), [("data", "damaged source"), ("concept", "recent labels"), ("seasonal", "season")]
)
def test_a_class_of_findings_says_what_to_do_mo_09(name: str, text: str) -> None:
    assert text in words(DRIFTED | {"class": name})


def test_a_bias_finding_names_metric_and_group_mo_07() -> None:
    said = words(BIAS)

    assert "NON-COMPLIANT, severity High" in said
    assert "DI of sex female bias Value 0.76 does not meet the constraint requirement" in said
    assert "all distances" not in said


def test_a_feature_named_like_a_script_stays_text() -> None:
    page = html(HOSTILE)
    found = Page(page)

    assert not {"script", "img", "iframe", "object"} & found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert [value for name, value in found.attributes if name == "href"] == ['https://x/"onmouseover="window.hacked=1']
    assert EVIL in found.said
    page.encode()  # a lone surrogate would fail here
    assert not [c for c in page if c != "\n" and not c.isprintable()]


def named(text: str) -> Page:
    """Return the page of a finding in which everything has this name."""
    champion = {"version": text, "run": text, "baseline": text}
    broken = [{"feature_name": text, "constraint_check_type": text, "description": text}]
    page = html(
        QUIET | {"model": text, "start": text, "uri": text, "champion": champion, "violations": broken, "lines": {}}
        | {"scores": {text: 0.5}, "distances": {text: {text: 0.5}}, "bars": [bars(text, 0.5, {text: 1.0}, [1.0])]}
    )  # fmt: skip
    page.encode()
    return Page(page)


PLAIN = named("plain")


@given(st.text(min_size=1, max_size=40) | st.text("<>&\"'/=!- scriptx", min_size=1, max_size=40))
def test_no_name_whatever_changes_the_shape_of_the_page(name: str) -> None:
    found = named(name)

    assert found.order == PLAIN.order
    assert found.attributes == PLAIN.attributes


def test_a_long_finding_makes_a_short_page_that_says_what_it_left_out() -> None:
    scores = {f"feature {i}": 0.001 * i for i in range(MOST_ROWS + 1)}
    wide = bars("wide", 0.9, {f"bin {i}": 0.01 for i in range(MOST_BARS + 5)}, [0.01] * (MOST_BARS + 5))
    many = [wide, *(bars(f"plot {i}", 0.5, {"a": 1.0}, [0.5]) for i in range(MOST_PLOTS))]
    one = {"feature_name": "x" * 10_000, "constraint_check_type": "baseline_drift_check", "description": "d" * 10_000}

    page = html(DRIFTED | {"scores": scores, "bars": many, "violations": [one] * 130})

    assert "<p>1 more are in the finding.</p>" in page
    assert "<p>5 more are not shown.</p>" in page
    assert "<p>1 drifted feature more; the table has their numbers.</p>" in page
    assert "<p>30 more are in constraint_violations.json.</p>" in page
    assert len(page) < 400_000
    assert "3 features break 250 constraints." in words(DRIFTED | {"broken": 250})
    assert "<p>246 more are in constraint_violations.json.</p>" in html(DRIFTED | {"broken": 250})


def test_infinite_and_unknown_numbers_are_words() -> None:
    said = words(
        QUIET | {"scores": {"a": float("inf"), "b": float("nan")}, "distances": {"a": {"mean_shift": float("-inf")}}}
    )

    assert "a infinite mean infinite b unknown" in said


def test_a_plot_whose_sides_do_not_match_is_refused() -> None:
    plot = bars("amount", 0.5, {"low": 0.4, "high": 0.6}, [0.1, 0.9])
    other = plot | {"current": [{"label": "low", "share": 0.1}, {"label": "top", "share": 0.9}]}
    beyond = plot | {"current": [{"label": "low", "share": 0.1}, {"label": "high", "share": 90}]}

    for wrong in (other, beyond, plot | {"current": plot["current"][:1]}):
        with pytest.raises(BadInputError):
            html(DRIFTED | {"bars": [wrong]})
