"""The dashboard and the alert rules name metrics and labels that exist, in expressions that Prometheus can read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from octavia_stream.telemetry.metrics import MetricInfo, catalogue

ROOT = Path(__file__).parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "observability" / "dashboard.json").read_text(encoding="utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((ROOT / "observability" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
LABELS_OF_EVERY_SCRAPE = {"job"}


def expressions() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            # What Grafana puts in before it asks.
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield pytest.param(expression, id=f"{panel['title']} {target['refId']}")
    for rule in RULES:
        yield pytest.param(rule["expr"], id=rule["alert"])


def known() -> dict[str, MetricInfo]:
    """Every name under which Prometheus has a series."""
    found: dict[str, MetricInfo] = {}
    for metric in catalogue():
        suffixes = ("_bucket", "_count", "_sum") if metric.type == "histogram" else ("",)
        found |= {metric.name + suffix: metric for suffix in suffixes}
    return found


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_can_be_read_and_names_what_exists(expression: str) -> None:
    promql_parser.parse(expression)
    metrics = known()
    named = set(re.findall(r"\boctavia_\w+", expression))
    assert named <= metrics.keys()
    assert named or expression.startswith("up{")
    labels = {label for name in named for label in metrics[name].labels} | {"le"} | LABELS_OF_EVERY_SCRAPE
    asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        asked |= {label.strip() for label in group.split(",")}
    assert asked <= labels


def test_what_an_alert_says_comes_from_labels_it_has() -> None:
    for rule in RULES:
        said = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        kept = {label for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for label in re.split(r",\s*", group)}
        assert said <= kept, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "warn")


def test_every_alert_is_explained_and_every_panel_has_its_place() -> None:
    page = (ROOT / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")
    assert {rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in page} == set()
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in DASHBOARD["panels"])


def test_what_is_measured_is_shown_somewhere() -> None:
    shown = (ROOT / "observability" / "dashboard.json").read_text() + json.dumps(RULES)
    unseen = {metric.name for metric in catalogue() if metric.name not in shown}
    assert unseen <= {"octavia_build_info"}
