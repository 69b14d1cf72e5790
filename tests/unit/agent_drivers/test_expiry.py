from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent.expiry import expiry_report, judge_served, serves_live
from gausscert_common.findings import Severity
from gausscert_common.model import Certificate, CertificateKind, Served, ServedState

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


def served(fingerprint="ff", *, verified=True, state=ServedState.SSL_ON):
    return Served(1, "10.0.0.1:5000", state, fingerprint, verified, None, "" if verified else "has expired")


def test_only_a_leaf_that_was_seen_is_compared_with_one_that_is_there():
    live = [certificate(9), certificate(9, CertificateKind.CA)]
    assert serves_live(live, served()) is True
    assert serves_live(live, served("00")) is False
    for nothing in (None, served("", state=ServedState.SSL_OFF), served("", state=ServedState.REFUSED)):
        assert serves_live(live, nothing) is None
    assert serves_live(live[1:], served()) is None


def test_drift_is_worse_when_those_who_connect_anew_refuse_what_is_served():
    live = [certificate(9)]
    assert list(judge_served(live, served())) == []
    assert list(judge_served(live, served(verified=False))) == []
    (mild,), (bad,) = judge_served(live, served("00")), judge_served(live, served("00", verified=False))
    assert (mild.code, mild.severity) == ("NODE_DRIFT", Severity.WARNING)
    assert (bad.code, bad.severity) == ("NODE_DRIFT_REFUSED", Severity.ERROR)
    assert "10.0.0.1:5000: has expired" in bad.cause
