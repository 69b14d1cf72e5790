"""The watch: what it looks at, when it raises an alarm, and what others see of it."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import pytest
from gausscert_agent.alarms import AlarmWatch, summary
from gausscert_agent.expiry import expiry_report
from gausscert_agent.looks import NotNow
from gausscert_agent.node_findings import node_finding
from gausscert_common.errors import NodeFailure, Reason
from gausscert_common.findings import Severity
from gausscert_common.model import Certificate, CertificateKind, Served, ServedState

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(days: float, kind=CertificateKind.SERVER, *, file="server.crt", fingerprint="ff"):
    return Certificate(file, 0, kind, "CN=server", "CN=ca", "1", fingerprint, NOW - DAY, NOW + days * DAY)


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
        self.unread = ()
        self.now = 1000.0
        self.interval_s = interval_s
        self.own = ()
        self.served = None
        self.watch = AlarmWatch(
            self.report,
            lambda: self.interval_s,
            clock=lambda: self.now,
            own=lambda: self.own,
            served=self.see_served,
            log=log,
        )

    def report(self):
        if self.error is not None:
            raise self.error
        certificates = () if self.unread else self.certificates
        return expiry_report("n1", certificates, NOW, 90, self.unread)

    def see_served(self):
        if isinstance(self.served, Exception):
            raise self.served
        return self.served

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


@pytest.mark.parametrize(("interval_s", "told_at"), [(600, [0, 144]), (7 * 86_400, [0, 144])])
def test_what_lasts_is_told_daily_whatever_the_interval_of_cm(interval_s, told_at):
    """Ten minutes of it must not fill the log, a week of it must not keep silent."""
    bench = Bench(certificate(9), interval_s=interval_s)
    told = []
    for step in range(200):
        bench.now = 1000.0 + step * 600
        told += [step] if bench.look()[1] else []
    assert told == told_at


def test_a_second_ca_that_begins_to_expire_is_a_change_of_its_own():
    """It has code, file and subject in common with the first one, of which nothing is told again."""
    one = certificate(9, CertificateKind.CA, file="cacert.pem", fingerprint="aa")
    bench = Bench(one, certificate(300, CertificateKind.CA, file="cacert.pem", fingerprint="bb"))
    assert bench.look()[1] == [("WARNING", "CA_EXPIRING")]
    bench.now += 3600
    bench.certificates = (one, certificate(80, CertificateKind.CA, file="cacert.pem", fingerprint="bb"))
    assert bench.look()[1] == [("WARNING", "CA_EXPIRING")]
    bench.now += 3600
    assert bench.look()[1] == []


def test_one_that_begins_or_ends_has_nothing_told_again_of_the_others():
    ca = certificate(9, CertificateKind.CA, file="cacert.pem", fingerprint="aa")
    bench = Bench(ca)
    assert bench.look()[1] == [("WARNING", "CA_EXPIRING")]
    bench.now += 3600
    bench.certificates = (ca, certificate(-1))
    assert bench.look()[1] == [("ERROR", "CERTIFICATE_EXPIRED")]
    bench.now += 3600
    bench.certificates = (ca, certificate(999))
    assert bench.look()[1] == [("INFO", "CERTIFICATE_EXPIRED")]  # it is over
    told = []
    for hour in range(2, 30):
        bench.now = 1000.0 + hour * 3600
        told += [(hour, *seen) for seen in bench.look()[1]]
    assert told == [(24, "WARNING", "CA_EXPIRING")]


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

    def unreadable():
        raise NodeFailure(Reason.CONF_FAILED, "unreadable")

    bench.watch._interval_s = unreadable
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


def shown(fingerprint, *, verified=True, state=ServedState.SSL_ON, days=999):
    cause = "" if verified else "certificate has expired"
    return Served(1, "10.0.0.1:5000", state, fingerprint, verified, NOW + days * DAY, cause)


def test_what_cm_server_serves_is_part_of_the_alarm():
    bench = Bench(certificate(999))
    bench.served = shown("ff")
    assert bench.look()[1] == [("INFO", "")]
    assert bench.watch.last.serves_live is True
    bench.served = shown("00")
    assert bench.look()[1] == [("WARNING", "NODE_DRIFT")]
    assert bench.watch.last.serves_live is False
    bench.served = shown("00", verified=False)
    assert bench.look()[1] == [("ERROR", "NODE_DRIFT_REFUSED")]
    bench.served = None
    assert bench.look()[1] == [("INFO", "")]
    assert bench.watch.last.serves_live is None


def test_what_is_served_expires_by_itself():
    """Files that were replaced do not make a running cm_server serve any longer."""
    bench = Bench(certificate(999))
    bench.served = shown("00", days=1)
    assert bench.look()[1] == [("WARNING", "CERTIFICATE_EXPIRING"), ("WARNING", "NODE_DRIFT")]
    assert [one.file for one in bench.watch.last.alarms] == ["served by cm_server", ""]
    bench.served = shown("00", days=-1, verified=False)
    assert bench.look()[1] == [("ERROR", "CERTIFICATE_EXPIRED"), ("ERROR", "NODE_DRIFT_REFUSED")]
    bench.served = shown("ff")
    assert bench.look()[1] == [("INFO", "")]


def test_what_lies_on_the_disk_and_is_served_is_told_once():
    bench = Bench(certificate(9))
    bench.served = shown("ff", days=9)
    assert bench.look()[1] == [("WARNING", "CERTIFICATE_EXPIRING")]
    assert bench.watch.last.report.served.not_after == NOW + 9 * DAY


def test_whether_cm_server_serves_is_known_where_one_belongs():
    bench = Bench(certificate(999))
    bench.look()
    assert bench.watch.last.serves is None
    for state, serves in zip(ServedState, (True, True, False, False), strict=True):
        bench.served = shown("ff" if state is ServedState.SSL_ON else "", state=state)
        bench.look()
        assert bench.watch.last.serves is serves, state


def test_a_cm_server_that_cannot_be_looked_at_hides_no_certificate():
    bench = Bench(certificate(9))
    bench.served = NodeFailure(Reason.CM_CTL_FAILED, "cannot be run")
    assert bench.look()[1] == [("WARNING", "CERTIFICATE_EXPIRING"), ("WARNING", "NODE_NOT_OBSERVED")]
    assert bench.watch.last.serves_live is None


def test_a_recent_look_is_not_repeated():
    bench = Bench(certificate(9))
    first = bench.watch.recent(30)
    bench.certificates = (certificate(-1),)
    bench.now += 30
    assert bench.watch.recent(30) is first
    bench.now += 0.1
    assert [one.code for one in bench.watch.recent(30).alarms] == ["CERTIFICATE_EXPIRED"]


def test_a_nudge_has_it_look_at_once():
    bench = Bench(certificate(999))
    looks = threading.Semaphore(0)
    bench.watch._report = lambda: (looks.release(), bench.report())[1]
    bench.watch.start()
    assert looks.acquire(timeout=10)
    bench.watch.nudge()
    assert looks.acquire(timeout=10)
    bench.watch.stop()


def test_alarms_are_one_warning_of_the_node_whatever_they_are():
    """An expired set must not refuse its own replacement."""
    bench = Bench(certificate(-1), certificate(-1), certificate(9, CertificateKind.CA, file="cacert.pem"))
    bench.own = (node_finding("NODE_CREDENTIAL_EXPIRED"),)
    assert summary(bench.watch.last) == ()
    bench.look()
    (one,) = summary(bench.watch.last)
    assert (one.code, one.severity) == ("NODE_ALARM", Severity.WARNING)
    assert one.cause.endswith("CERTIFICATE_EXPIRED server.crt, CA_EXPIRING cacert.pem")
    bench.certificates = (certificate(999),)
    bench.look()
    assert summary(bench.watch.last) == ()


UNREAD = node_finding("NODE_NOT_OBSERVED", "the live set: Permission denied")
GONE = NodeFailure(Reason.STORE_FAILED, "gone")


@pytest.mark.parametrize(
    ("error", "unread", "told"),
    [(GONE, (), ("ERROR", "STORE_FAILED")), (None, (UNREAD,), ("WARNING", "NODE_NOT_OBSERVED"))],
)
def test_what_a_look_could_not_see_is_not_over(error, unread, told):
    bench = Bench(certificate(-1))
    assert bench.look()[1] == [("ERROR", "CERTIFICATE_EXPIRED")]
    bench.now += 3600
    bench.error, bench.unread = error, unread
    assert bench.look()[1] == [told]
    assert {one.code for one in bench.watch.last.alarms} == {told[1], "CERTIFICATE_EXPIRED"}
    bench.now += 3600
    bench.error, bench.unread = None, ()
    assert bench.look()[1] == [("INFO", told[1])]  # seen again, it is still the same alarm
    bench.certificates = (certificate(999),)
    assert bench.look()[1] == [("INFO", "")]
    assert bench.watch.last.alarms == ()


def test_what_ended_while_it_could_not_be_seen_is_over_with_the_next_look():
    bench = Bench(certificate(-1), certificate(9, CertificateKind.CA, file="cacert.pem", fingerprint="aa"))
    bench.look()
    bench.unread = (UNREAD,)
    bench.look()
    bench.certificates = (bench.certificates[1],)
    assert bench.look()[1] == []
    bench.unread = ()
    over = [("INFO", "CERTIFICATE_EXPIRED"), ("INFO", "NODE_NOT_OBSERVED")]
    assert sorted(bench.look()[1]) == over


@pytest.mark.parametrize(
    "unseen",
    [
        NotNow(),
        NodeFailure(Reason.CM_CTL_FAILED, "cannot be run"),
        Served(1, "10.0.0.1:5000", ServedState.UNREACHABLE, cause="no cm_server runs here"),
    ],
)
def test_what_is_served_is_not_over_while_it_cannot_be_seen_but_what_lies_on_the_disk_is(unseen):
    bench = Bench(certificate(-1))
    bench.served = shown("00", days=-1, verified=False)
    assert {code for _, code in bench.look()[1]} == {"CERTIFICATE_EXPIRED", "NODE_DRIFT_REFUSED"}
    bench.certificates, bench.served = (certificate(999),), unseen
    told = bench.look()[1]
    assert [each for each in told if each[0] == "INFO"] == [("INFO", "CERTIFICATE_EXPIRED")]
    kept = [one for one in bench.watch.last.alarms if one.code != "NODE_NOT_OBSERVED"]
    assert {(one.code, one.file) for one in kept} == {
        ("CERTIFICATE_EXPIRED", "served by cm_server"),
        ("NODE_DRIFT_REFUSED", ""),
    }
    assert [each for each in bench.look()[1] if each[0] == "INFO"] == []
    bench.served = shown("ff")
    assert bench.look()[1] == [("INFO", "")]


NONE_RUNS = Served(1, "10.0.0.1:5000", ServedState.UNREACHABLE, cause="no cm_server runs here")
HANGS = Served(1, "10.0.0.1:5000", ServedState.UNREACHABLE, cause="timed out")


def served_wrongly():
    """A cm_server that serves an expired certificate which is not on the disk."""
    bench = Bench(certificate(999))
    bench.served = shown("00", days=-1, verified=False)
    bench.look()
    return bench


def test_what_a_cm_server_served_is_over_once_its_process_has_been_gone_for_a_while():
    bench = served_wrongly()
    bench.served = NONE_RUNS
    wait_s, told = bench.look()
    assert (wait_s, told) == (60.0, []), "it may only be restarted; it is looked at again soon"
    bench.now += wait_s
    # That it served another one than lies on the disk has turned into that it serves none.
    assert bench.look()[1] == [("WARNING", "NODE_NOT_SERVED"), ("INFO", "CERTIFICATE_EXPIRED")]
    (only,) = bench.watch.last.alarms
    assert only.cause.endswith("although one belongs there: 10.0.0.1:5000: no cm_server runs here")
    told = []
    for _ in range(25 * 60):
        bench.now += 60
        told += bench.look()[1]
    assert told == [("WARNING", "NODE_NOT_SERVED")], "once a day"
    bench.served = shown("ff")
    assert bench.look() == (3600.0, [("INFO", "")])


def test_one_that_runs_and_does_not_answer_may_still_serve_what_it_did():
    bench = served_wrongly()
    bench.served = HANGS
    bench.look()
    bench.now += 60
    assert bench.look()[1] == [("WARNING", "NODE_NOT_SERVED")]
    assert {one.code for one in bench.watch.last.alarms} == {
        "CERTIFICATE_EXPIRED",
        "NODE_DRIFT_REFUSED",
        "NODE_NOT_SERVED",
    }


def test_a_cm_server_that_serves_in_between_has_not_been_down_for_a_while():
    bench = Bench(certificate(999))
    for served in (NONE_RUNS, shown("ff"), NONE_RUNS):
        bench.served = served
        bench.look()
        bench.now += 59
    assert bench.watch.last.alarms == ()


def test_what_is_put_off_is_looked_at_again_soon():
    """A coordinator that dies in a restart tells nobody, and an hour is long for a cm_server that is down."""
    bench = Bench(certificate(999))
    bench.served = NotNow()
    assert bench.look() == (60.0, [("INFO", "")])
    bench.served = NONE_RUNS
    assert bench.look() == (60.0, [])
    bench.now += 60
    assert bench.look()[1] == [("WARNING", "NODE_NOT_SERVED")]
    bench.served = NotNow()
    assert bench.look()[0] == 60.0
    bench.served = None
    assert bench.look()[0] == 3600.0


def test_what_could_not_be_seen_is_looked_at_again_soon():
    """A machine that boots is slow: what cm_ctl did not say then would be an alarm for an hour."""
    bench = Bench(certificate(999))
    bench.served = NodeFailure(Reason.CM_CTL_FAILED, "cm_ctl view did not end")
    assert bench.look() == (60.0, [("WARNING", "NODE_NOT_OBSERVED")])
    bench.served = None
    assert bench.look() == (3600.0, [("INFO", "")])
    bench.unread = (UNREAD,)
    assert bench.look() == (60.0, [("WARNING", "NODE_NOT_OBSERVED")])
    bench.unread = ()
    bench.error = NodeFailure(Reason.STORE_FAILED, "no")
    assert bench.look()[0] == 60.0
    bench.error = None
    assert bench.look() == (3600.0, [("INFO", "")])


def test_that_it_does_not_serve_is_not_over_while_somebody_restarts_it():
    bench = Bench(certificate(999))
    bench.served = NONE_RUNS
    bench.look()
    bench.now += 60
    assert bench.look()[1] == [("WARNING", "NODE_NOT_SERVED")]
    bench.served = NotNow()
    assert bench.look()[1] == []
    assert [one.code for one in bench.watch.last.alarms] == ["NODE_NOT_SERVED"]
    bench.served = None  # CM has taken the cm_server out of this node
    assert bench.look()[1] == [("INFO", "")]


def test_what_is_served_may_be_over_while_the_disk_cannot_be_read():
    bench = Bench(certificate(-1))
    bench.served = shown("00", days=-1)
    bench.look()
    bench.unread, bench.served = (UNREAD,), shown("11")
    assert bench.look()[1] == [("WARNING", "NODE_NOT_OBSERVED"), ("INFO", "CERTIFICATE_EXPIRED")]
    kept = {(one.finding.code, one.finding.file) for one in bench.watch.last.kept}
    assert kept == {("CERTIFICATE_EXPIRED", "server.crt"), ("NODE_DRIFT", "")}


def test_what_is_kept_and_not_seen_is_not_told_again():
    bench = Bench(certificate(-1))
    bench.look()
    bench.unread = (UNREAD,)
    told = []
    for _ in range(30):
        bench.now += 3600
        told += bench.look()[1]
    assert told == [("WARNING", "NODE_NOT_OBSERVED")] * 2
