"""The files in ops/ query only metrics and labels that exist; `make ops-check` tests the rules themselves."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stemdrop.observability.metric_definitions import METRICS, Kind

OPS = Path(__file__).parent.parent / "ops"
FILES = ("alerts.yml", "alerts_test.yml", "grafana-dashboard.json")
LABELS = {metric.full_name: {label.name: set(label.values) for label in metric.labels} for metric in METRICS}
ENDINGS = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
# Every name of a time series → the name of its metric.
KNOWN = {
    f"{metric.full_name}{ending}": metric.full_name
    for metric in METRICS
    for ending in ENDINGS.get(metric.kind, ("",))
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((OPS / "alerts.yml").read_text("utf-8"))["groups"]
    return list(group["rules"])


@pytest.mark.parametrize("name", FILES)
def test_every_queried_metric_exists(name: str) -> None:
    text = (OPS / name).read_text("utf-8").replace('\\"', '"')
    asked = set(re.findall(r"\bstemdrop_\w+", text))
    assert asked
    assert asked - KNOWN.keys() == set()


@pytest.mark.parametrize("name", FILES)
def test_every_queried_label_value_exists(name: str) -> None:
    text = (OPS / name).read_text("utf-8").replace('\\"', '"')
    wrong = []
    for metric, selector in re.findall(r"\b(stemdrop_\w+)\s*\{([^}]*)\}", text):
        allowed = LABELS[KNOWN[metric]]
        for label, values in re.findall(r'(\w+)[!=]=?~?"([^"]*)"', selector):
            if label not in ("job", "instance") and set(values.split("|")) - allowed.get(label, set()):
                wrong.append((metric, label, values))
    assert wrong == []


@pytest.mark.parametrize("name", ["alerts.yml", "grafana-dashboard.json"])
def test_figures_of_two_webhooks_are_not_added_up(name: str) -> None:
    text = (OPS / name).read_text("utf-8")
    added = re.findall(r"\bsum\b(?: by \([^)]*\))? \((?!max without \(instance\))[^)]*", text)
    assert [sum_ for sum_ in added if "stemdrop_" in sum_] == []


def test_every_metric_is_on_the_dashboard() -> None:
    text = (OPS / "grafana-dashboard.json").read_text("utf-8")
    shown = {KNOWN[name] for name in re.findall(r"\bstemdrop_\w+", text)}
    assert {metric.full_name for metric in METRICS} - shown == {
        "stemdrop_callbacks_expected",
        "stemdrop_info",
    }


def test_every_panel_has_a_title_and_queries_and_fits() -> None:
    dashboard = json.loads((OPS / "grafana-dashboard.json").read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert (panel["type"] == "row") == (not panel.get("targets"))
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_every_alert_has_a_description_and_a_test() -> None:
    tested = {
        test["name"].partition(":")[0]
        for test in yaml.safe_load((OPS / "alerts_test.yml").read_text())["tests"]
    }
    assert {rule["alert"] for rule in rules()} == tested
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
