# SPDX-License-Identifier: MIT
"""What is made of the metrics: the examples for Prometheus and Grafana."""

import json
import os
import re
from pathlib import Path

import pytest

from support.place import run

SOURCES = Path(__file__).parent.parent.parent
EXAMPLES = SOURCES / "packaging" / "examples"
DASHBOARD = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
RULES = (EXAMPLES / "prometheus-alerts.yml").read_text()

NAME = r"\b(?:milterd|xmpprelay)_[a-z_]+\b"


def families():
    """What the daemons have: (type, labels) of each name."""
    found = {}
    for folder in ("milterd", "xmpprelay"):
        for path in (SOURCES / folder).glob("*.c"):
            text = path.read_text()
            macros = dict(re.findall(r"^#define (PER_\w+) (.*)$", text, re.M))
            for part in text.split("] = {")[1:]:
                name = re.match(rf'\s*"({NAME})"', part)
                kind = re.search(r"\bMETRIC_(COUNTER|GAUGE|HISTOGRAM)\b", part)
                if name and kind:
                    for macro, meaning in macros.items():
                        part = part.replace(macro, meaning)
                    labels = re.search(r"\.labels = \{(.*?)\}", part)
                    found[name[1]] = (kind[1], set(re.findall('"([a-z_]+)"',
                                                              labels[1] if labels else "")))
    canary = (SOURCES / "milterd" / "milterd-canary.in").read_text()
    return found | {name: ("GAUGE", set())
                    for name in re.findall(r"^# TYPE (\S+) gauge$", canary, re.M)}


def known_names():
    """As Prometheus sees them, with their labels."""
    known = {}
    for name, (kind, labels) in families().items():
        if kind == "HISTOGRAM":
            known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels,
                      f"{name}_count": labels}
        else:
            known[name] = labels
    return known


def panels(parts=None):
    for panel in DASHBOARD["panels"] if parts is None else parts:
        yield panel
        yield from panels(panel.get("panels", []))


def expressions():
    """Of the dashboard, with something in the place of its variables."""
    found = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    found += [mark["expr"] for mark in DASHBOARD["annotations"]["list"]]
    assert len(found) > 40
    return [text.replace("$__rate_interval", "5m").replace("$instance", ".*")
            .replace("$destination", ".*") for text in found]


def test_alerts_for_prometheus_are_rules(place):
    done = run(["promtool", "check", "rules", EXAMPLES / "prometheus-alerts.yml"])

    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_for_prometheus_fire_when_they_should():
    # It writes a database for each test, and waits for the disk each time.
    place = {"TMPDIR": "/dev/shm"} if os.path.isdir("/dev/shm") else {}
    done = run(["promtool", "test", "rules", "prometheus-alerts-test.yml"], cwd=EXAMPLES,
               env={"PATH": "/usr/bin:/bin", **place}, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr

    tested = (EXAMPLES / "prometheus-alerts-test.yml").read_text()
    firing = set(re.findall(r"'ALERTS\{.*alertname=\"(\w+)\"", tested))
    assert firing == set(re.findall(r"- alert: (\w+)", RULES))


def test_example_for_scraping_is_a_configuration():
    done = run(["promtool", "check", "config", EXAMPLES / "prometheus-scrape.yml"])

    assert done.returncode == 0, done.stdout + done.stderr
    jobs = set(re.findall(r"job_name: (\w+)", (EXAMPLES / "prometheus-scrape.yml").read_text()))
    assert set(re.findall(r'job="(\w+)"', RULES)) == jobs


def test_every_alert_says_what_to_do_and_where_it_is_written():
    rules = RULES.split("- alert: ")[1:]
    page = (SOURCES / "packaging" / "man" / "xmpp-alerts.7").read_text().replace(r"\&", "")
    sections = set(re.findall(r"^\.Ss (.+)$", page, re.M))

    for rule in rules:
        name = rule.split("\n", 1)[0]
        assert re.search(r"severity: (critical|warning)\n", rule), name
        assert 'summary: "' in rule and "description: >-" in rule, name
        text = " ".join(rule.split("description:")[1].split())
        named = re.findall(r'(?:See|,|or) "([A-Z][^"]+)"', text)
        assert named or "milterd-canary(8)" in text, name
        assert set(named) <= sections, name


@pytest.mark.parametrize("what", ["rules", "dashboard"])
def test_every_metric_is_one_that_the_daemons_have_in(what):
    rules = " ".join(line for line in RULES.splitlines() if not line.strip().startswith("#"))
    text = rules if what == "rules" else " ".join(expressions())
    used = set(re.findall(NAME, text))

    assert len(used) > 15
    assert used <= set(known_names()), f"no such metrics: {sorted(used - set(known_names()))}"


@pytest.mark.parametrize("what", ["rules", "dashboard"])
def test_every_label_is_one_that_the_metric_has_in(what):
    text = RULES if what == "rules" else " ".join(expressions())
    for name, matchers in re.findall(rf"({NAME})\{{([^}}]*)\}}", text):
        labels = set(re.findall(r"([a-z]+)=", matchers))
        assert labels <= known_names()[name] | {"instance", "job"}, f"{name}{{{matchers}}}"
    for labels, name in re.findall(rf"by \(([^)]*)\) \((?:rate|increase)?\(?({NAME})", text):
        assert set(labels.split(", ")) <= known_names()[name] | {"instance"}, f"{name}: {labels}"


def test_dashboard_shows_every_metric():
    used = set(re.findall(NAME, " ".join(expressions())))
    missing = {name for name in set(known_names()) - used
               if not name.endswith(("_build_info", "_sum", "_count"))}

    assert not missing


def test_dashboard_asks_what_prometheus_understands(place):
    rules = "".join(f"  - record: a:{number}\n    expr: {json.dumps(text)}\n"
                    for number, text in enumerate(expressions()))
    path = place.file("dashboard.yml", f"groups:\n- name: dashboard\n  rules:\n{rules}")
    done = run(["promtool", "check", "rules", path])

    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_can_be_imported_anywhere():
    variables = {item["name"]: item for item in DASHBOARD["templating"]["list"]}
    sources = re.findall(r'"type": "prometheus", "uid": "([^"]*)"', json.dumps(DASHBOARD))

    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["title"]
    assert DASHBOARD["id"] is None and DASHBOARD["uid"] is None
    assert variables["datasource"]["type"] == "datasource"
    assert len(sources) > 40 and set(sources) == {"${datasource}"}
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids)) > 30
    # Every panel lies within the width, and none upon another.
    taken = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
