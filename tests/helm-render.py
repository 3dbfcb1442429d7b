#!/usr/bin/env python3
"""Prints the manifests of a chart as Helm's own library renders them.

usage: helm-render CHART [VALUES.yaml...]

CHART is a directory or an archive. Later values go before earlier ones. tests/readers installs this
program beside the library, which is Helm's SDK in a Python package.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib" / "helm"))

import helm_python  # noqa: E402


def merged(under, over):
    """Puts values over others, table by table, as Helm does with several files."""
    both = dict(under)
    for key, value in over.items():
        is_table = isinstance(value, dict) and isinstance(under.get(key), dict)
        both[key] = merged(under[key], value) if is_table else value
    return both


def main(chart, *files):
    values = {}
    for file in files:
        text = pathlib.Path(file).read_text(encoding="utf-8")
        values = merged(values, helm_python.values_from_yaml(text))
    with helm_python.Chart.load(chart) as loaded:
        rendered = loaded.render(values, name="app", namespace="shop")
    for name, text in sorted(rendered.items()):
        print(f"---\n# Source: {name}\n{text.strip()}")


main(*sys.argv[1:])
