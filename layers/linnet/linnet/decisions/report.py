"""A finding as one HTML file for people: the verdict, why, what drifted, the numbers, how it was computed.

The file stands alone: style and plots are inside, it has no script, and it fetches nothing (its own policy forbids it).
It may be read at night on a phone, so no line is wider than the screen and no sign is colour alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from html import escape
from typing import Any, Literal

from linnet.decisions.classes import MEANINGS
from linnet.decisions.page import HEAD, STYLE
from linnet.errors import BadInputError

Tone = Literal["good", "warn", "bad", "unknown"]
MOST_PLOTS, MOST_ROWS, MOST_VIOLATIONS, MOST_BARS = 12, 200, 100, 40
"""How much of a finding one page shows; what is left out is counted on the page."""
RESOLUTION = 1 / 2048
"""Above it a distance may be wrong by more than a statistics.json from elsewhere would make it."""
_LONGEST = 200
_EXECUTION = re.compile(r"arn:(aws|aws-cn|aws-us-gov):states:([a-z0-9-]+):\d{12}:execution:[\w.-]+:([\w.-]+)", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):00Z", re.ASCII)
_CONSOLES = {"aws": "aws.amazon.com", "aws-cn": "amazonaws.cn", "aws-us-gov": "amazonaws-us-gov.com"}

STATUSES = {
    "Completed": "",
    "CompletedWithViolations": "",
    "no_data": "Nobody knows: too little was captured",
    "no_labels": "Nobody knows: too few labels came in",
}
"""What a finding's status may be, and what is known where nothing is."""
SIGNS: Mapping[Tone, str] = {"good": "Healthy", "warn": "Warning", "bad": "Violation", "unknown": "Unknown"}
KINDS: Mapping[str, Mapping[str, str]] = {
    "data-quality": {
        "title": "data quality", "noun": "feature", "score": "drift",
        "good": "The live data match their baseline", "bad": "The live data left their baseline",
    },
    "data-set": {
        "title": "data set", "noun": "feature", "score": "drift",
        "good": "The data set matches its baseline", "bad": "The data set left its baseline",
    },
    "model-quality": {
        "title": "model quality", "noun": "metric", "score": "",
        "good": "The model is as good as it was", "bad": "The model got worse",
    },
    "bias": {
        "title": "bias", "noun": "metric", "score": "",
        "good": "The groups are treated alike, within the limits", "bad": "The groups are not treated alike",
    },
    "attribution": {
        "title": "feature attribution", "noun": "feature", "score": "attribution",
        "good": "The model decides by the same features", "bad": "The model decides by other features than before",
    },
}  # fmt: skip
_OTHER = {"noun": "value", "score": "", "good": "Within its limits", "bad": "Beyond its limits"}
COMPUTED = {
    "data-quality": """\
Drift is the largest distance between the cumulative shares of both sides (numbers: Kolmogorov-Smirnov) or between their
shares (categories), 0 to 1. Robust takes off what so few rows show by chance: 1.8 times the square root of (n + m) / (n m).
The champion's own constraints.json says which of the two decides, and above what.

PSI is taken over the baseline's tenths; Jensen-Shannon is the distance in base 2; Wasserstein is in standard deviations of
the baseline; the mean's shift is a share of the baseline's mean; the p-value is that of chi-squared.""",
    "model-quality": """\
Each prediction is joined to its label by inferenceId, else by eventId; the last label counts. A metric is broken where it is
worse than the champion's own evaluation by more than the tolerance.""",
    "bias": """\
Each metric compares the disadvantaged group with the others. It is broken where its 95 % interval lies outside the range that
the spec allows, or, without a range, where it is farther from equal than the baseline was.""",
    "attribution": """\
Features are ranked by their mean absolute SHAP values, in training and now. The score is NDCG, 1 for the same order; below
the threshold (0.90) the order has changed.""",
}
CHECKS = {
    "data_type_check": "type", "completeness_check": "missing values", "baseline_drift_check": "drift",
    "missing_column_check": "missing column", "extra_column_check": "extra column", "categorical_values_check": "new values",
    "bias_drift_check": "bias", "feature_attribution_drift_check": "attribution",
}  # fmt: skip
"""Model Monitor's checks in words."""
DISTANCES = {
    "l_infinity_simple": "simple", "l_infinity_robust": "robust", "psi": "PSI", "jensen_shannon": "Jensen-Shannon",
    "jensen_shannon_robust": "robust Jensen-Shannon", "wasserstein": "Wasserstein",
    "wasserstein_robust": "robust Wasserstein", "wasserstein_raw": "Wasserstein in its unit", "mean_shift": "mean",
    "chi_squared": "chi-squared", "p_value": "p-value", "new_categories": "new categories",
    "place": "place", "place_before": "place in training", "attribution_before": "attribution in training",
}  # fmt: skip
"""The distances in the order in which they are shown; others follow by their own names."""


def html(document: Mapping[str, Any]) -> str:
    """Return the page of a finding; the same finding gives the same page.

    `document` is the finding with `model`, and optionally `bars`, `links` and `top`. `bars` are `{feature, drift, threshold,
    baseline, current}` (drift is a value of `measure`, if given) a drifted feature, both sides lists of `{label, share}` with
    the same labels. `links` are the executions (ARN) or addresses (https) of `run` and `release`, `top` what decides most.

    Raises:
        BadInputError: model, start, end or status is missing or unknown, or the two sides of a plot do not match.
    """
    for name in ("model", "kind", "start", "end"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise BadInputError(name, document.get(name), "a text")
    if document.get("status") not in STATUSES:
        raise BadInputError("status", document.get("status"), " | ".join(STATUSES))
    kind = KINDS.get(document["kind"]) or _OTHER | {"title": document["kind"]}
    parts = [
        _head(document, kind),
        _section("Why", _why(document, kind)),
        _section("Baseline against current", _plots(document)),
        _section("The numbers", _facts(document) + _table(document, kind)),
        _section("How it was computed", _computed(document)),
    ]
    title = f"<title>{_text(document['model'])}: {_text(_headline(document, kind))}</title>"
    body = f'<body>\n<main class="{tone(document)}">\n{"".join(parts)}</main>\n</body>'
    return f"{HEAD}{title}\n<style>{STYLE}</style>\n</head>\n{body}\n</html>\n"


def tone(document: Mapping[str, Any]) -> Tone:
    """Return how a finding is to be taken; what is not known is never good."""
    verdict = str(document.get("verdict") or "").lower()
    if document["status"].startswith("no_") or verdict == "unknown":
        return "unknown"
    if document.get("severity") == "High":
        return "bad"
    broken = document["status"] != "Completed" or bool(document.get("violations"))
    return "warn" if broken or document.get("severity") or verdict not in ("", "healthy", "compliant") else "good"


# --- the parts of the page ---------------------------------------------------------------------------------------


def _headline(document: Mapping[str, Any], kind: Mapping[str, str]) -> str:
    found = tone(document)
    if found == "unknown":
        return STATUSES[document["status"]] or "Nobody knows: the evidence is too thin"
    return kind["good"] if found == "good" else kind["bad"]


def _head(document: Mapping[str, Any], kind: Mapping[str, str]) -> str:
    found, champion, links = tone(document), document.get("champion") or {}, document.get("links") or {}
    sign = str(document.get("verdict") or SIGNS[found])
    if document.get("severity"):
        sign += f", severity {document['severity']}"
    at = _window(document["start"], document["end"])
    lines = [f"{_name(document['name'])}, looked at {_text(document['end'])}" if document.get("name") else _text(at)]
    if champion.get("version") is not None:
        lines.append("Released as " + _link(f"version {champion['version']}", links.get("release")))
    if champion.get("run"):
        lines.append("Trained by " + _link(f"run {champion['run']}", links.get("run")))
    return (
        f'<header>\n<p class="kind">{_name(document["model"])} <span>{_text(kind["title"])}</span></p>\n'
        f"<h1>{_text(_headline(document, kind))}</h1>\n<p><strong>{_text(sign)}</strong></p>\n"
        + "".join(f"<p>{line}</p>\n" for line in lines)
        + "</header>\n"
    )


def _why(document: Mapping[str, Any], kind: Mapping[str, str]) -> str:
    violations = list(document.get("violations") or [])
    shown = "".join(map(_violation, violations[:MOST_VIOLATIONS]))
    broken = int(document.get("broken") or len(violations))  # a finding in the ledger keeps the first of many alone
    text = f"<p>{_text(_reason(document, kind, broken))}</p>\n" + (f"<ul>\n{shown}</ul>\n" if shown else "")
    more = broken - min(len(violations), MOST_VIOLATIONS)
    if more > 0:
        text += f"<p>{more} more are in constraint_violations.json.</p>\n"
    if document.get("class") in MEANINGS:
        text += f"<p>{_text(MEANINGS[document['class']])}</p>\n"
    if document.get("top"):
        text += f"<p>What decides most, by training: {', '.join(map(_name, document['top']))}.</p>\n"
    care = "".join(f"<li>{_text(one)}</li>\n" for one in _care(document))
    return text + (f"<h3>Read it with care</h3>\n<ul>\n{care}</ul>\n" if care else "")


def _violation(one: Mapping[str, Any]) -> str:
    """Return a violation: the feature, or the metric and the group or label it was taken of; which check; what it says."""
    group = [str(one[name]) for name in ("facet", "facet_value", "label") if one.get(name)]
    about = one.get("feature_name") or " of ".join(filter(None, [str(one.get("metric_name", "")), " ".join(group)]))
    check = str(one.get("constraint_check_type", ""))
    said = _text(one.get("description", ""))
    return f"<li>{_name(about)} <span>{_text(CHECKS.get(check, check))}</span><br>{said}</li>\n"


def _reason(document: Mapping[str, Any], kind: Mapping[str, str], broken: int) -> str:
    rows = _whole(document.get("rows", 0))
    if document["status"] == "no_data":
        least = f" of the {document['minimum_rows']} that it takes" if document.get("minimum_rows") else ", too few"
        if document.get("name"):
            return f"{rows} rows were read{least}. The data set counts neither for nor against the model."
        return f"{rows} rows were captured{least}. The window counts neither for nor against the model."
    if document["status"] == "no_labels":
        some = "Too few" if document.get("join_rate") else "None"
        return f"{some} of {rows} answers have a label yet. That says nothing about their quality."
    said = "No constraint is broken."
    if broken:
        names = len(document.get("features") or [])
        said = f"{_count(names, kind['noun'])} {'breaks' if names == 1 else 'break'} {_count(broken, 'constraint')}."
    ranked = _ranked(document)
    if not ranked or not kind["score"]:
        return said
    return f"{said} The largest {kind['score']} is {_number(ranked[0][1])}, of {ranked[0][0]}."


def _care(document: Mapping[str, Any]) -> list[str]:
    """Return what makes the numbers weaker than they look."""
    lines, found = document.get("lines") or {}, []
    if lines.get("bad"):
        found.append(f"{_count(lines['bad'], 'captured line')} could not be read and are not in the numbers.")
    if lines.get("odd_rows"):
        found.append(f"{_count(lines['odd_rows'], 'row')} had another number of columns and are not in the numbers.")
    if _less_than_all(document.get("coverage")):
        found.append(f"Requests were captured in {_percent(document['coverage'])} of the window only.")
    if document["status"].startswith("Completed"):
        found += [f"{name} is unknown: {why}." for name, why in (document.get("unknown") or {}).items()]
    if _less_than_all(document.get("join_rate")) and document["status"] != "no_labels":
        found.append(f"{_percent(document['join_rate'])} of the answers have a label; the others are not scored.")
    if document.get("resolution") is not None and float(document["resolution"]) > RESOLUTION:
        off = _percent(document["resolution"])
        found.append(f"Up to {off} of a column's values count as one; distances may be off by as much.")
    return found


def _plots(document: Mapping[str, Any]) -> str:
    ranked = sorted(document.get("bars") or [], key=lambda one: (-_finite(one["drift"]), str(one["feature"])))
    if not ranked:
        return ""
    more = len(ranked) - MOST_PLOTS
    return (
        '<p class="legend"><i class="b"></i> baseline <i class="c"></i> this window</p>\n'
        + "".join(_plot(one) for one in ranked[:MOST_PLOTS])
        + (f"<p>{_count(more, 'drifted feature')} more; the table has their numbers.</p>\n" if more > 0 else "")
    )


def _plot(one: Mapping[str, Any]) -> str:
    pairs = _pairs(one)
    longest = max([share for pair in pairs for share in pair[1:]], default=0.0) or 1.0
    label, before, now = max(pairs, key=lambda pair: abs(pair[2] - pair[1]), default=("", 0.0, 0.0))
    rows = "".join(
        f'<tr><th scope="row">{_name(name)}</th><td><svg viewBox="0 0 100 15" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="b" width="{100 * old / longest:.2f}" height="6"/>'
        f'<rect class="c" y="8" width="{100 * new / longest:.2f}" height="6"/></svg></td>'
        f"<td>{_percent(old)}<br><b>{_percent(new)}</b></td></tr>\n"
        for name, old, new in pairs[:MOST_BARS]
    )
    left_out = f"<p>{len(pairs) - MOST_BARS} more are not shown.</p>\n" if len(pairs) > MOST_BARS else ""
    return (
        f"<figure>\n<figcaption><h3>{_name(one['feature'])}</h3>\n"
        f"<p>{_text(one.get('measure', 'drift'))} {_number(one['drift'])}, threshold {_number(one['threshold'])}</p>\n"
        f"<p>most changed: {_name(label)}, {_percent(before)} to {_percent(now)}</p></figcaption>\n"
        f'<table class="bars">\n{rows}</table>\n{left_out}</figure>\n'
    )


def _pairs(one: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    before, now = one["baseline"], one["current"]
    if [bar["label"] for bar in before] != [bar["label"] for bar in now]:
        raise BadInputError(
            f"bars of {one['feature']}", [bar["label"] for bar in now], "the labels of the baseline's bars"
        )
    return [(bar["label"], _share(bar["share"]), _share(new["share"])) for bar, new in zip(before, now, strict=True)]


def _facts(document: Mapping[str, Any]) -> str:
    lines = document.get("lines") or {}
    facts = [
        ("rows looked at", document.get("rows")),
        ("captured lines read", lines.get("read")),
        ("lines not readable", lines.get("bad")),
        ("lines of another time", lines.get("outside")),
        ("rows of other width", lines.get("odd_rows")),
        ("window covered", None if document.get("coverage") is None else _percent(document["coverage"])),
        ("files read", (document.get("files") or {}).get("read")),
        ("rows marked as deleted", document.get("deleted")),
        ("columns that are no features", len(document["ignored"]) if "ignored" in document else None),
        ("answers with label", None if document.get("join_rate") is None else _percent(document["join_rate"])),
    ]
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{_text(_whole(value))}</dd></div>\n" for name, value in facts if value is not None
    )
    return f"<dl>\n{shown}</dl>\n" if shown else ""


def _table(document: Mapping[str, Any], kind: Mapping[str, str]) -> str:
    broken, distances = set(document.get("features") or []), document.get("distances") or {}
    ranked = _ranked(document)
    rows = "".join(
        f'<tr><th scope="row">{_name(name)}{" <em>broken</em>" if name in broken else ""}</th>'
        f"<td>{_number(score)}</td><td>{_distances(distances.get(name) or {})}</td></tr>\n"
        for name, score in ranked[:MOST_ROWS]
    )
    if not rows:
        return ""
    more, titles = (
        len(ranked) - MOST_ROWS,
        (kind["noun"], kind["score"] or "value", "all distances" if distances else ""),
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in titles)
    return f'<table class="numbers">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n' + (
        f"<p>{more} more are in the finding.</p>\n" if more > 0 else ""
    )


def _distances(found: Mapping[str, Any]) -> str:
    known = [name for name in DISTANCES if name in found] + sorted(found.keys() - DISTANCES.keys())
    values = (_shift(found[name]) if name == "mean_shift" else _number(found[name]) for name in known)
    return " ".join(
        f"<span>{_text(DISTANCES.get(name, name))} <b>{value}</b></span>"
        for name, value in zip(known, values, strict=True)
    )


def _computed(document: Mapping[str, Any]) -> str:
    champion = document.get("champion") or {}
    text = "".join(
        f"<p>{escape(part)}</p>\n"
        for part in COMPUTED.get("data-quality" if document.get("data") else document["kind"], "").split("\n\n")
        if part
    )
    baseline = document.get("baseline") or champion.get("baseline")
    places = [
        ("season", document.get("season")),
        ("baseline", baseline),
        ("data", document.get("data")),
        ("files of this window", document.get("uri")),
    ]
    shown = "".join(f"<dt>{name}</dt><dd>{_name(value)}</dd>\n" for name, value in places if value)
    return text + (f'<dl class="places">\n{shown}</dl>\n' if shown else "")


# --- words and numbers -------------------------------------------------------------------------------------------


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}</section>\n" if content else ""


def _text(value: Any) -> str:
    """Return any value as text of the page: escaped, of one page's length, and whole characters only."""
    shown = str(value)
    shown = shown if len(shown) <= _LONGEST * 5 else shown[: _LONGEST * 5] + "..."
    shown = "".join(c if c.isprintable() or c == " " else "\N{REPLACEMENT CHARACTER}" for c in shown)
    return escape(shown)


def _name(value: Any) -> str:
    """Return a name that others chose, so that its direction of writing stays its own."""
    shown = str(value)
    return f"<bdi>{_text(shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '...')}</bdi>"


def _link(text: str, target: Any) -> str:
    """Return a link to an execution in its console or to an https address; anything else is only named."""
    found = _EXECUTION.fullmatch(str(target or ""))
    if found:
        partition, region, _ = found.groups()
        target = f"https://{region}.console.{_CONSOLES[partition]}/states/home?region={region}#/v2/executions/details/{target}"
    if isinstance(target, str) and target.startswith("https://"):
        return f'<a href="{escape(target)}">{_name(text)}</a>'
    return _name(text)


def _window(start: str, end: str) -> str:
    """Return a window as people write it, the date once where both ends have the same."""
    first, last = _TIME.fullmatch(start), _TIME.fullmatch(end)
    if not first or not last:
        return f"{start} to {end}"
    until = last[2] if first[1] == last[1] else f"{last[1]} {last[2]}"
    return f"{first[1]} {first[2]} to {until} UTC"


def _ranked(document: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the scores: what is broken first, then the largest, then by name."""
    scores, broken = document.get("scores") or {}, set(document.get("features") or [])
    found = [(str(name), float(score)) for name, score in scores.items()]
    return sorted(found, key=lambda one: (one[0] not in broken, -_finite(one[1]), one[0]))


def _finite(value: Any) -> float:
    return float(value) if math.isfinite(float(value)) else math.inf


def _share(value: Any) -> float:
    if not 0 <= float(value) <= 1 + 1e-9:
        raise BadInputError("share", value, "a number from 0 to 1")
    return float(value)


def _number(value: Any) -> str:
    number = float(value)
    return f"{number:.4g}" if math.isfinite(number) else "unknown" if math.isnan(number) else "infinite"


def _percent(value: Any) -> str:
    return f"{100 * float(value):.1f} %"


def _whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _shift(value: Any) -> str:
    return f"{100 * float(value):+.1f} %" if math.isfinite(float(value)) else _number(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun[:-1] + 'ies' if noun.endswith('y') else noun + 's'}"


def _less_than_all(value: Any) -> bool:
    return value is not None and float(value) < 1
