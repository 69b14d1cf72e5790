"""A real Prometheus scrapes a real agent: an alert fires for a certificate that expires, and clears."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Self

import pytest
from gausscert_agent.metrics import METRICS
from support.local_cluster import wait_until
from support.lone_agent import LoneAgent, free_port, set_of

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "gausscert.rules.yml"
PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus (Debian package) is missing")

CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: gausscert
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus:
    """One on loopback, with a state of its own; ends with the `with` block."""

    def __init__(self, root: Path, target: int) -> None:
        config = root / "prometheus.yml"
        config.write_text(CONFIG.format(rules=RULES, port=target))
        self.port = free_port()
        self._log = root / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(PROMETHEUS),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={root / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        wait_until(lambda: self.ask("query?query=1") is not None, 60)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ask(self, what: str) -> dict | None:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, with the file they are about."""
        alerts = (self.ask("alerts") or {"alerts": []})["alerts"]
        return {
            (each["labels"]["alertname"], each["labels"].get("file", ""))
            for each in alerts
            if each["state"] == "firing"
        }


def test_an_alert_fires_for_a_certificate_that_expires_and_clears_when_the_set_is_replaced(tmp_path):
    port = free_port()
    metrics = f'[metrics]\nenabled = true\nlisten = "127.0.0.1:{port}"\nmax_age_s = 0.5\n'
    agent = LoneAgent(tmp_path, set_of(days=5), metrics)
    expiring = {
        (alert, file)
        for alert in ("GausscertCertificateExpiring", "GausscertCertificateExpiresThisWeek")
        for file in ("server.crt", "client.crt")
    }
    with agent, Prometheus(tmp_path, port) as prometheus:
        wait_until(lambda: prometheus.firing() == expiring, 60)
        told = {record["code"] for record in agent.log() if record["event"] == "certificate needs attention"}
        assert told == {"CERTIFICATE_EXPIRING"}
        names = prometheus.ask("label/__name__/values") or []
        ours = {name for name in names if name.startswith("gausscert_")}
        # Without CM nothing is served, and there was no transaction yet.
        absent = {name for name in METRICS if re.search("serve[ds]|last_transaction", name)}
        assert ours == set(METRICS) - absent

        agent.install(set_of(days=400))

        wait_until(lambda: prometheus.firing() == set(), 60)
        assert agent.log()[-1]["event"] == "certificates are in order"
        left = prometheus.ask("query?query=gausscert_certificate_expiry_seconds")
        assert left is not None
        values = {each["metric"]["file"]: float(each["value"][1]) for each in left["result"]}
        assert set(values) == {"server.crt", "client.crt", "cacert.pem"}  # those of the former set are gone
        assert min(values.values()) > 399 * 86_400
