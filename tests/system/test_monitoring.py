# SPDX-License-Identifier: MIT
"""What is made of the metrics: the examples for Prometheus and Grafana."""

import json
import re
from pathlib import Path

import pytest

from support.place import run

SOURCES = Path(__file__).parent.parent.parent
EXAMPLES = SOURCES / "packaging" / "examples"
DASHBOARD = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
RULES = (EXAMPLES / "prometheus-alerts.yml").read_text()

NAME = r"\b(?:milterd|xmpprelay)_[a-z_]+\b"

# Of the contract; the daemons have them.
HISTOGRAMS = {"milterd_receipt_seconds", "xmpprelay_receipt_seconds", "xmpprelay_delivery_seconds"}
OTHERS = """
    milterd_build_info milterd_connections_total milterd_connections milterd_messages_total
    milterd_aborted_total milterd_alerts_total milterd_receipts_total milterd_guarded_total
    milterd_workers milterd_worker_restarts_total milterd_relay_available milterd_reloads_total
    milterd_last_reload_successful milterd_start_time_seconds
    xmpprelay_build_info xmpprelay_start_time_seconds xmpprelay_receipts_total
    xmpprelay_delivered_total xmpprelay_failed_total xmpprelay_entries xmpprelay_spool_entries
    xmpprelay_spool_entries_limit xmpprelay_oldest_waiting_seconds xmpprelay_session_up
    xmpprelay_session_connects_total xmpprelay_session_starts_total xmpprelay_room_joined
    xmpprelay_paused xmpprelay_last_echo_timestamp_seconds xmpprelay_test_success_timestamp_seconds
    xmpprelay_test_seconds xmpprelay_reloads_total xmpprelay_last_reload_successful""".split()


def known_names():
    """As Prometheus sees them."""
    canary = (SOURCES / "milterd" / "milterd-canary.in").read_text()
    return set(OTHERS) | set(re.findall(r"^# TYPE (\S+)", canary, re.M)) | {
        f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}


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
    done = run(["promtool", "test", "rules", "prometheus-alerts-test.yml"], cwd=EXAMPLES)
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
    assert used <= known_names(), f"no such metrics: {sorted(used - known_names())}"


def test_dashboard_shows_every_metric():
    used = set(re.findall(NAME, " ".join(expressions())))
    missing = {name for name in known_names() - used
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
