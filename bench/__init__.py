"""Measurements: each prints a ratio against a named peer taken in the same run and writes build/bench/<name>.json."""
