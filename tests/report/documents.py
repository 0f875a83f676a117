"""Findings as the monitors write them, for the tests of their report."""

from __future__ import annotations

from typing import Any

EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:linnet-{}:{}"


def bars(feature: str, drift: float, before: dict[str, float], now: list[float]) -> dict[str, Any]:
    """Return the plot of a feature."""
    return {
        "feature": feature,
        "drift": drift,
        "threshold": 0.1,
        "baseline": [{"label": label, "share": share} for label, share in before.items()],
        "current": [{"label": label, "share": share} for label, share in zip(before, now, strict=True)],
    }


_AMOUNT = ["below 4.99", "4.99 to 9.5", "9.5 to 14", "14 to 22.75", "22.75 to 31", "31 to 48", "48 to 79.9",
           "79.9 to 125.5", "125.5 to 310", "above 310"]  # fmt: skip
DRIFTED: dict[str, Any] = {
    "model": "fraud",
    "kind": "data-quality",
    "status": "CompletedWithViolations",
    "severity": "High",
    "verdict": None,
    "features": ["amount", "merchant_category", "hour"],
    "scores": {"hour": 0.131, "amount": 0.4125, "merchant_category": 0.22, "customer_age": 0.02, "is_weekend": 0.0},
    "distances": {
        "amount": {"l_infinity_simple": 0.421, "l_infinity_robust": 0.4125, "psi": 1.184, "jensen_shannon": 0.339,
                   "wasserstein": 1.9, "mean_shift": 2.588},
        "merchant_category": {"l_infinity_simple": 0.23, "l_infinity_robust": 0.22, "psi": 0.61, "jensen_shannon": 0.28,
                              "chi_squared": 1503.2, "p_value": 0.0, "new_categories": 3},
        "hour": {"l_infinity_simple": 0.142, "l_infinity_robust": 0.131, "psi": 0.19, "jensen_shannon": 0.12,
                 "wasserstein": 0.31, "mean_shift": -0.104},
        "customer_age": {"l_infinity_simple": 0.03, "l_infinity_robust": 0.02, "psi": 0.01, "jensen_shannon": 0.02,
                         "wasserstein": 0.03, "mean_shift": 0.004},
        "is_weekend": {"l_infinity_simple": 0.004, "l_infinity_robust": 0.0, "psi": 0.0, "jensen_shannon": 0.001,
                       "wasserstein": 0.01, "mean_shift": 0.0},
    },
    "violations": [
        {"feature_name": "amount", "constraint_check_type": "baseline_drift_check",
         "description": "Baseline drift distance: 0.4125 exceeds threshold: 0.1"},
        {"feature_name": "merchant_category", "constraint_check_type": "baseline_drift_check",
         "description": "Baseline drift distance: 0.22 exceeds threshold: 0.1"},
        {"feature_name": "merchant_category", "constraint_check_type": "categorical_values_check",
         "description": "Share of values outside the baseline's categories: 0.135 exceeds threshold: 0.1"},
        {"feature_name": "hour", "constraint_check_type": "baseline_drift_check",
         "description": "Baseline drift distance: 0.131 exceeds threshold: 0.1"},
    ],
    "rows": 41250,
    "lines": {"read": 41264, "bad": 12, "outside": 2, "odd_rows": 0},
    "join_rate": None,
    "coverage": 0.95,
    "resolution": 0.00003,
    "start": "2026-11-21T09:00:00Z",
    "end": "2026-11-21T10:00:00Z",
    "uri": "s3://linnet-data-123456789012/monitoring/linnet-fraud/2026/11/21/09/",
    "champion": {"version": 7, "run": "r-20261115-4f2a91c07b", "baseline": "s3://linnet-data-123456789012/baselines/fraud/"
                 "r-20261115-4f2a91c07b/"},
    "class": "data",
    "bars": [
        bars("hour", 0.131, {f"{h} to {h + 3}": s for h, s in zip(range(0, 24, 4), (0.05, 0.1, 0.25, 0.3, 0.2, 0.1),
             strict=True)}, [0.14, 0.12, 0.22, 0.26, 0.16, 0.1]),
        bars("amount", 0.4125, dict.fromkeys(_AMOUNT, 0.1), [0.02, 0.03, 0.03, 0.04, 0.06, 0.08, 0.1, 0.14, 0.2, 0.3]),
        bars("merchant_category", 0.22, {"grocery": 0.31, "fuel": 0.2, "restaurants": 0.18, "online marketplace": 0.12,
             "travel": 0.1, "electronics": 0.09, "crypto exchange": 0.0}, [0.2, 0.15, 0.11, 0.34, 0.06, 0.05, 0.09]),
    ],
    "links": {
        "run": EXECUTION.format("retrain", "fraud-r-20261115-4f2a91c07b"),
        "release": EXECUTION.format("release", "fraud-v7"),
    },
}  # fmt: skip
QUIET: dict[str, Any] = DRIFTED | {
    "status": "Completed", "severity": None, "features": [], "violations": [], "bars": [], "coverage": 1.0, "class": None,
    "scores": {"amount": 0.011, "hour": 0.004},
    "lines": {"read": 41250, "bad": 0, "outside": 0, "odd_rows": 0},
}  # fmt: skip
NO_DATA: dict[str, Any] = QUIET | {"status": "no_data", "rows": 40, "minimum_rows": 100, "scores": {}, "distances": {}}
NO_LABELS: dict[str, Any] = QUIET | {
    "kind": "model-quality", "status": "no_labels", "severity": "Low", "scores": {}, "distances": {}, "join_rate": 0.0,
}  # fmt: skip
BIAS: dict[str, Any] = QUIET | {
    "kind": "bias", "status": "CompletedWithViolations", "severity": "High", "verdict": "NON-COMPLIANT",
    "features": ["DI", "AD"], "scores": {"DI": 0.76, "AD": -0.08, "DPL": 0.22}, "distances": {},
    "violations": [{"facet": "sex", "facet_value": "female", "metric_name": "DI", "constraint_check_type": "bias_drift_check",
                    "description": "Value 0.76 does not meet the constraint requirement"}],
}  # fmt: skip
EVIL = '"><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
HOSTILE: dict[str, Any] = DRIFTED | {
    "model": EVIL,
    "features": [EVIL],
    "scores": {EVIL: 0.5, "x" * 3000: 0.4, "line\nfeed\0\ud800\u202egnp.exe": 0.3, "اسم": 0.2, "not a number": float("nan")},
    "distances": {EVIL: {EVIL: 0.5, "mean_shift": float("inf")}},
    "violations": [{"feature_name": EVIL, "constraint_check_type": EVIL, "description": EVIL + "y" * 5000}] * 130,
    "champion": {"version": EVIL, "run": EVIL, "baseline": EVIL},
    "start": EVIL, "end": EVIL, "uri": EVIL, "class": EVIL, "verdict": EVIL, "severity": EVIL, "rows": EVIL,
    "bars": [bars(EVIL + str(i), 0.5, {EVIL: 1.0, "W" * 300: 0.0}, [0.0, 1.0]) for i in range(15)],
    "links": {"run": "javascript:window.hacked=1", "release": 'https://x/"onmouseover="window.hacked=1'},
}  # fmt: skip
