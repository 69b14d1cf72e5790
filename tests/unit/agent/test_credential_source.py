"""The agent's own credential: tried again after a failure, and told before it expires."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent.config import AgentConfig, CmSettings, TlsFiles
from gausscert_agent.credential_source import AGAIN_S, CredentialSource
from gausscert_common.findings import Severity
from gausscert_common.identity import Role
from gausscert_coordinator import pki
from support.edges import copy_private

NOW = datetime.now(UTC).replace(microsecond=0)


class Bench:
    """A node's credential for 90 days, on a machine whose clocks a test turns."""

    def __init__(self, root) -> None:
        self.root, self.now, self.ticks = root, NOW, 500.0
        self.ca = root / "ca"
        pki.init(self.ca, "prod", None)
        self.issued = self.issue("first", NOW - timedelta(hours=1))
        tls = TlsFiles(self.issued.ca, self.issued.cert, self.issued.key)
        self.config = AgentConfig("n1", "prod", "127.0.0.1:0", root, tls, CmSettings(root))
        self.source = CredentialSource(self.config, lambda: self.now, monotonic=lambda: self.ticks)
        self.source.first()

    def issue(self, name: str, begin: datetime) -> pki.Issued:
        return pki.issue(self.ca, Role.NODE, "n1", days=90, out=self.root / name, now=begin)

    def install(self, issued: pki.Issued) -> None:
        for source, target in ((issued.key, self.config.tls.key), (issued.cert, self.config.tls.cert)):
            copy_private(source, target.with_suffix(".new")).replace(target)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.ticks += seconds


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def errors(caplog):
    return [record.cause for record in caplog.records if record.levelno == logging.ERROR]


def test_a_credential_of_the_near_future_counts_once_its_day_has_come(bench, caplog):
    """It was issued on a machine whose clock is ahead of this one's."""
    bench.install(bench.issue("ahead", NOW + timedelta(hours=2)))
    assert bench.source.changed() is None

    answers = []
    for _ in range(150):
        bench.pass_time(AGAIN_S)
        answers.append(bench.source.changed() is not None)

    assert answers.count(True) == 1
    assert answers.index(True) == 59  # pki dates everything back by one hour
    (told,) = errors(caplog)
    assert "not valid before" in told


def test_a_credential_that_cannot_be_used_is_not_read_on_every_connection(bench, monkeypatch):
    loads = []
    bench.config.tls.key.chmod(0o644)
    real = bench.source._load
    monkeypatch.setattr(bench.source, "_load", lambda: (loads.append(bench.ticks), real())[1])
    for _ in range(130):
        assert bench.source.changed() is None
        bench.pass_time(1)
    assert loads == [500, 560, 620]


def test_each_cause_is_told_once(bench, caplog):
    bench.config.tls.key.chmod(0o644)
    for _ in range(5):
        bench.source.changed()
        bench.pass_time(AGAIN_S)
    bench.config.tls.key.unlink()
    for _ in range(5):
        bench.source.changed()
        bench.pass_time(AGAIN_S)
    one, other = errors(caplog)
    assert "others can read" in one
    assert "does not exist" in other


def test_what_was_mended_and_breaks_again_is_told_again(bench, caplog):
    for _ in range(2):
        bench.config.tls.key.chmod(0o644)
        assert bench.source.changed() is None
        bench.config.tls.key.chmod(0o600)
        assert bench.source.changed() is not None
    assert len(errors(caplog)) == 2


def test_the_end_of_the_credential_in_use_is_told_in_time(bench):
    assert bench.source.findings() == ()
    bench.pass_time(61 * 86_400)
    (soon,) = bench.source.findings()
    assert (soon.code, soon.severity) == ("NODE_CREDENTIAL_EXPIRING", Severity.WARNING)
    assert soon.file == str(bench.config.tls.cert)
    assert soon.remedy
    bench.pass_time(30 * 86_400)
    (over,) = bench.source.findings()
    assert (over.code, over.severity) == ("NODE_CREDENTIAL_EXPIRED", Severity.ERROR)


def test_a_renewed_credential_silences_the_alarm(bench):
    bench.pass_time(61 * 86_400)
    assert bench.source.findings()
    bench.install(bench.issue("renewed", bench.now))
    assert bench.source.changed() is not None
    assert bench.source.findings() == ()


def test_the_end_of_a_ca_is_told_three_months_ahead(tmp_path):
    short = Bench(tmp_path)
    short.ca = tmp_path / "short"
    pki.init(short.ca, "prod", None, days=200)
    issued = short.issue("short-node", NOW)
    copy_private(issued.ca, short.config.tls.ca.with_suffix(".new")).replace(short.config.tls.ca)
    short.install(issued)
    assert short.source.findings() == ()

    short.pass_time(111 * 86_400)
    own, soon = short.source.findings()
    assert (own.code, soon.code) == ("NODE_CREDENTIAL_EXPIRED", "NODE_CREDENTIAL_CA_EXPIRING")
    assert (soon.severity, soon.file) == (Severity.WARNING, str(short.config.tls.ca))
    assert "Rotation" in soon.remedy
    short.pass_time(90 * 86_400)
    assert short.source.findings()[1].code == "NODE_CREDENTIAL_CA_EXPIRED"


def test_the_credential_and_its_cas_are_told_like_any_certificate(bench):
    own, ca = bench.source.certificates()

    assert (own.file, own.kind, own.fingerprint) == (
        str(bench.config.tls.cert),
        "credential",
        bench.issued.fingerprint,
    )
    assert own.subject == "CN=n1,O=prod"
    assert own.issuer == ca.subject == ca.issuer
    assert (ca.file, ca.kind) == (str(bench.config.tls.ca), "credential ca")
