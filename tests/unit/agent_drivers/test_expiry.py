from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent.expiry import ExpiryWatch, expiry_report
from gausscert_agent.preflight import node_finding
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.findings import Severity
from gausscert_common.model import Certificate, CertificateKind

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(days: float, kind=CertificateKind.SERVER, *, file="server.crt", since: float = -100):
    return Certificate(
        file=file,
        index=0,
        kind=kind,
        subject="CN=server",
        issuer="CN=ca",
        serial="1",
        fingerprint="ff",
        not_before=NOW + since * DAY,
        not_after=NOW + days * DAY,
    )


def findings(*certificates, threshold=90):
    report = expiry_report("n1", certificates, NOW, threshold)
    return [(finding.code, finding.severity) for finding in report.findings]


def test_nothing_to_say_of_certificates_that_last():
    assert findings(certificate(90), certificate(3650)) == []


@pytest.mark.parametrize(
    ("kind", "prefix"),
    [
        (CertificateKind.SERVER, "CERTIFICATE"),
        (CertificateKind.CLIENT, "CERTIFICATE"),
        (CertificateKind.CA, "CA"),
        (CertificateKind.CRL, "CRL"),
    ],
)
def test_each_kind_has_its_codes(kind, prefix):
    assert findings(certificate(-0.001, kind)) == [(f"{prefix}_EXPIRED", Severity.ERROR)]
    assert findings(certificate(89.9, kind)) == [(f"{prefix}_EXPIRING", Severity.WARNING)]
    assert findings(certificate(99, kind, since=1)) == [(f"{prefix}_NOT_YET_VALID", Severity.ERROR)]


def test_a_certificate_that_cm_ignores_is_no_error():
    assert findings(certificate(-1, CertificateKind.EXTRA)) == [("CERTIFICATE_EXPIRED", Severity.WARNING)]


def test_the_codes_are_those_of_the_validator():
    from gausscert_common.validate.catalogue import CATALOGUE

    kinds = (CertificateKind.CLIENT, CertificateKind.CA, CertificateKind.CRL)
    for kind in kinds:
        for one in (certificate(-1, kind), certificate(1, kind), certificate(99, kind, since=1)):
            ((code, _),) = findings(one)
            assert code in CATALOGUE


def test_a_report_has_all_of_them_soonest_first():
    late, soon, sooner = certificate(300), certificate(30), certificate(-3, file="cacert.pem")
    report = expiry_report("n1", [late, soon, sooner], NOW, 45)
    assert report.certificates == (sooner, soon, late)
    assert report.alert_threshold_days == 45
    assert "expired on 2026-06-28 12:00 UTC, 3 days ago" in report.findings[0].cause
    assert report.findings[0].file == "cacert.pem"
    assert "in 30 days" in report.findings[1].cause


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def emit(self, record):
        self.seen.append((record.levelname, getattr(record, "code", "")))

    def taken(self):
        seen, self.seen = self.seen, []
        return seen


class Bench:
    """A watch over one report that a test may change, with a clock that a test turns."""

    def __init__(self, *certificates, interval_s=86_400):
        self.records = Records()
        log = logging.getLogger(f"test.expiry.{id(self)}")
        log.setLevel(logging.INFO)
        log.propagate = False
        log.addHandler(self.records)
        self.certificates = certificates
        self.error = None
        self.now = 1000.0
        self.interval_s = interval_s
        self.own = ()
        self.watch = ExpiryWatch(
            self.report, lambda: self.interval_s, clock=lambda: self.now, own=lambda: self.own, log=log
        )

    def report(self):
        if self.error is not None:
            raise self.error
        return expiry_report("n1", self.certificates, NOW, 90)

    def look(self):
        wait_s = self.watch.look()
        return wait_s, self.records.taken()


def test_the_first_look_tells_what_it_sees():
    assert Bench(certificate(-1)).look()[1] == [("ERROR", "CERTIFICATE_EXPIRED")]
    assert Bench(certificate(9)).look()[1] == [("WARNING", "CERTIFICATE_EXPIRING")]
    assert Bench(certificate(999)).look()[1] == [("INFO", "")]


def test_no_certificates_are_not_certificates_in_order():
    assert Bench().look()[1] == [("WARNING", "NODE_NO_LIVE_SET")]
    assert [each.code for each in expiry_report("n1", (), NOW, 90).findings] == ["NODE_NO_LIVE_SET"]


def test_what_does_not_change_is_told_once_a_day():
    bench = Bench(certificate(9))
    told = []
    for hour in range(50):
        bench.now = 1000.0 + hour * 3600
        wait_s, seen = bench.look()
        assert wait_s == 3600
        told += [hour] if seen else []
    assert told == [0, 24, 48]


def test_good_news_is_not_repeated():
    bench = Bench(certificate(999))
    bench.look()
    bench.now += 10 * 86_400
    assert bench.look()[1] == []


def test_a_change_is_told_at_once():
    bench = Bench(certificate(9))
    bench.look()
    bench.certificates = (certificate(-1),)
    assert bench.look()[1] == [("ERROR", "CERTIFICATE_EXPIRED")]
    bench.certificates = (certificate(999),)
    assert bench.look()[1] == [("INFO", "")]


def test_a_shorter_interval_of_cm_is_followed_but_not_below_a_minute():
    assert Bench(interval_s=600).look()[0] == 600
    assert Bench(interval_s=0).look()[0] == 60


def test_an_interval_that_cannot_be_read_is_cms_default():
    assert Bench(interval_s=None).look()[0] == 3600
    bench = Bench()
    bench.watch._interval_s = bench.report
    bench.error = NodeFailure(Reason.CONF_FAILED, "unreadable")
    assert bench.look()[0] == 3600


def test_a_look_that_fails_is_told_once_and_the_recovery_too():
    bench = Bench(certificate(999))
    bench.look()
    bench.error = NodeFailure(Reason.STORE_FAILED, "gone")
    assert bench.look()[1] == [("ERROR", "STORE_FAILED")]
    assert bench.look()[1] == []
    bench.error = None
    assert bench.look()[1] == [("INFO", "")]


def test_the_agents_own_credential_is_told_once_per_change_and_daily():
    bench = Bench(certificate(999))
    assert bench.look()[1] == [("INFO", "")]
    bench.own = (node_finding("NODE_CREDENTIAL_EXPIRING"),)
    told = []
    for hour in range(30):
        bench.now += 3600
        told += [(hour, *seen) for seen in bench.look()[1]]
    assert told == [(0, "WARNING", "NODE_CREDENTIAL_EXPIRING"), (24, "WARNING", "NODE_CREDENTIAL_EXPIRING")]
    bench.own = (node_finding("NODE_CREDENTIAL_EXPIRED"),)
    assert bench.look()[1] == [("ERROR", "NODE_CREDENTIAL_EXPIRED")]


def test_the_agents_own_credential_is_told_although_the_set_cannot_be_read():
    bench = Bench()
    bench.error = NodeFailure(Reason.STORE_FAILED, "gone")
    bench.own = (node_finding("NODE_CREDENTIAL_EXPIRING"),)
    assert bench.look()[1] == [("ERROR", "STORE_FAILED"), ("WARNING", "NODE_CREDENTIAL_EXPIRING")]


def test_it_looks_in_the_background_and_ends_when_told():
    bench = Bench(certificate(999))
    looked = threading.Event()
    bench.watch._report = lambda: (looked.set(), bench.report())[1]
    bench.watch.start()
    assert looked.wait(10)
    bench.watch.stop()
    assert not bench.watch._thread.is_alive()


def test_it_survives_its_own_errors():
    bench = Bench()
    failed = threading.Event()

    def fail():
        failed.set()
        raise RuntimeError("a bug")

    bench.watch._report = fail
    bench.watch.start()
    assert failed.wait(10)
    bench.watch.stop()
    assert bench.records.taken() == [("ERROR", "")]
