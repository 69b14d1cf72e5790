"""Alert rules and dashboard: they name only what the agent tells, and promtool approves of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from gausscert_agent.metrics import METRICS

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "gausscert.rules.yml"
RULE_TESTS = DEPLOY / "prometheus" / "gausscert.rules.test.yml"
SCRAPE = DEPLOY / "prometheus" / "scrape.yml"
RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
DASHBOARD = json.loads((DEPLOY / "grafana" / "gausscert.json").read_text())

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian package prometheus) is missing"
)


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\bgausscert_[a-z_]+", text))


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_rules_and_their_tests_name_only_metrics_that_the_agent_tells():
    rules = RULES.read_text()
    assert metrics_in(rules) <= set(METRICS), metrics_in(rules) - set(METRICS)
    assert metrics_in(rules)
    assert metrics_in(RULE_TESTS.read_text()) <= set(METRICS)


def test_the_dashboard_shows_every_metric_and_no_other():
    assert metrics_in(json.dumps(DASHBOARD)) == set(METRICS)


@pytest.mark.parametrize("text", [RULES.read_text(), *expressions()])
def test_labels_that_are_asked_for_are_told(text):
    known = {label for _, labels in METRICS.values() for label in labels} | {"instance", "job"}
    asked = set(re.findall(r"(?:[{,]\s*)([a-z_]+)(?:=|!=|=~)\"", text)) | set(
        re.findall(r"\$labels\.([a-z_]+)", text)
    )
    assert asked <= known, asked - known


def test_every_alert_has_a_severity_a_summary_and_what_to_do_and_is_tested():
    alerts = RULES.read_text().split("- alert: ")[1:]
    tested = set(re.findall(r"alertname: (\w+)", RULE_TESTS.read_text()))
    assert tested == {alert.split()[0] for alert in alerts}
    for alert in alerts:
        for part in ("severity:", "summary:", "description:"):
            assert part in alert, alert.split()[0]


def test_the_runbook_says_what_to_do_at_every_alert():
    alerts = {alert.split()[0] for alert in RULES.read_text().split("- alert: ")[1:]}
    rows = [line for line in RUNBOOK.read_text().splitlines() if line.startswith("| Gausscert")]
    named = {alert for row in rows for alert in re.findall(r"Gausscert\w+", row.split("|")[1])}
    assert named == alerts


def test_the_panels_of_the_dashboard_do_not_overlap():
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & seen, panel["title"]
        seen |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@needs_promtool
def test_the_rules_pass_their_tests():
    assert promtool("check", "rules", RULES).returncode == 0
    done = promtool("test", "rules", RULE_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("<= 0", "<= -864000"),
        ("> 0 < 7 *", "> 0 < 1 *"),
        ('kind!="extra"', 'kind!="x"'),
        ("for: 15m", "for: 0m"),
        ('where!="served"', 'where!="x"'),
        ("gausscert_served_equals_disk == 1\n          )", "gausscert_served_equals_disk == 2\n          )"),
        ("gausscert_cm_server_serves == 0", "gausscert_cm_server_serves == 2"),
        ("max by (job, cluster)", "min by (job, cluster)"),
        ('code="NODE_NOT_OBSERVED"', 'code="X"'),
        ("for: 30m", "for: 0m"),
    ],
)
def test_the_tests_of_the_rules_find_rules_that_are_wrong(tmp_path, right, wrong):
    text = RULES.read_text()
    assert right in text
    (tmp_path / RULES.name).write_text(text.replace(right, wrong))
    shutil.copy(RULE_TESTS, tmp_path)
    assert promtool("test", "rules", tmp_path / RULE_TESTS.name).returncode != 0


@needs_promtool
def test_prometheus_understands_every_expression_of_the_dashboard(tmp_path):
    rules = [
        {"record": f"panel:{n}", "expr": e.replace("$instance", ".*")} for n, e in enumerate(expressions())
    ]
    path = tmp_path / "dashboard.yml"
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_scrape_sample_is_one(tmp_path):
    shutil.copy(RULES, tmp_path)
    sample = SCRAPE.read_text().replace("/etc/prometheus", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(sample)
    done = promtool("check", "config", tmp_path / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
