"""What ops/ asks Prometheus for is what /metrics tells; `make ops-check` says whether the rules are right."""

import json
import re
from pathlib import Path

import pytest
import yaml

from stemdrop.observability.metric_definitions import METRICS, Kind

OPS = Path(__file__).parent.parent / "ops"
ASKING = ("alerts.yml", "alerts_test.yml", "grafana-dashboard.json")
LABELS = {metric.full_name: {label.name: set(label.values) for label in metric.labels} for metric in METRICS}
ENDINGS = {Kind.HISTOGRAM: ("_bucket", "_sum", "_count")}
# Every name under which Prometheus knows one, and which it is.
KNOWN = {
    f"{metric.full_name}{ending}": metric.full_name
    for metric in METRICS
    for ending in ENDINGS.get(metric.kind, ("",))
}


def rules() -> list[dict[str, str]]:
    (group,) = yaml.safe_load((OPS / "alerts.yml").read_text("utf-8"))["groups"]
    return list(group["rules"])


@pytest.mark.parametrize("name", ASKING)
def test_only_metrics_that_are_told_are_asked_for(name: str) -> None:
    text = (OPS / name).read_text("utf-8").replace('\\"', '"')
    asked = set(re.findall(r"\bstemdrop_\w+", text))
    assert asked
    assert asked - KNOWN.keys() == set()


@pytest.mark.parametrize("name", ASKING)
def test_only_values_that_labels_have_are_asked_for(name: str) -> None:
    text = (OPS / name).read_text("utf-8").replace('\\"', '"')
    wrong = []
    for metric, selector in re.findall(r"\b(stemdrop_\w+)\s*\{([^}]*)\}", text):
        allowed = LABELS[KNOWN[metric]]
        for label, values in re.findall(r'(\w+)[!=]=?~?"([^"]*)"', selector):
            if label not in ("job", "instance") and set(values.split("|")) - allowed.get(label, set()):
                wrong.append((metric, label, values))
    assert wrong == []


@pytest.mark.parametrize("name", ["alerts.yml", "grafana-dashboard.json"])
def test_what_two_webhooks_tell_is_not_added_up(name: str) -> None:
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


def test_the_dashboard_is_whole() -> None:
    dashboard = json.loads((OPS / "grafana-dashboard.json").read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert (panel["type"] == "row") == (not panel.get("targets"))
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_every_alert_says_what_to_do_and_is_tried() -> None:
    tried = {
        test["name"].partition(":")[0]
        for test in yaml.safe_load((OPS / "alerts_test.yml").read_text())["tests"]
    }
    assert {rule["alert"] for rule in rules()} == tried
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
