from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cryptography import x509
from gausscert_agent.drivers.memory_file import memory_file
from gausscert_agent.drivers.overlap import hold, overlap
from gausscert_agent.drivers.rehearsal import CODE, rehearse
from gausscert_common import certset
from gausscert_common.findings import Severity
from gausscert_common.model import Overlap, Side
from support import sim_certs

SERVER_AUTH = (x509.oid.ExtendedKeyUsageOID.SERVER_AUTH,)
CLIENT_AUTH = (x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH,)

SERVERS = "cm_server to cm_server (DCC)"
AGENTS = "cm_agent to cm_agent (MES)"
CLIENTS = "cm_agent or cm_ctl to cm_server"


def failed_links(findings) -> set[str]:
    assert all(finding.code == CODE and finding.severity is Severity.ERROR for finding in findings)
    return {finding.cause.partition(", TLS")[0] for finding in findings}


def test_a_good_set_passes():
    assert rehearse(sim_certs.new_set()) == ()


def test_leaves_without_purposes_pass():
    assert rehearse(sim_certs.bent(server_usage=(), client_usage=())) == ()


def test_the_other_build_of_cm_passes():
    assert rehearse(sim_certs.bent(libpq_off=True)) == ()


def test_a_server_certificate_for_servers_only_fails_among_servers():
    findings = rehearse(sim_certs.bent(server_usage=SERVER_AUTH))
    assert failed_links(findings) == {SERVERS}
    assert len(findings) == 2
    assert all("(26)" in finding.cause for finding in findings)


def test_a_client_certificate_for_clients_only_fails_among_agents():
    assert failed_links(rehearse(sim_certs.bent(client_usage=CLIENT_AUTH))) == {AGENTS}


def test_a_server_certificate_for_clients_only_fails_towards_agents_too():
    assert failed_links(rehearse(sim_certs.bent(server_usage=CLIENT_AUTH))) == {CLIENTS, SERVERS}


def test_a_client_certificate_of_another_ca_fails_wherever_it_is_shown():
    findings = rehearse(sim_certs.bent(client_authority="stranger"))
    assert failed_links(findings) == {CLIENTS, AGENTS}


def test_an_expired_leaf_fails():
    findings = rehearse(sim_certs.bent(server_days=(-9, -2)))
    assert failed_links(findings) == {CLIENTS, SERVERS}
    assert all("(10)" in finding.cause for finding in findings)


def test_factor_files_with_another_password_fail_at_the_key():
    (finding, *more) = rehearse(sim_certs.bent(factor_password=b"Other#1Word"))
    assert finding.file == "server.key"
    assert [one.file for one in more] == ["client.key"]
    assert "Other#1Word" not in str(finding)


def test_a_key_of_another_certificate_fails():
    files = sim_certs.new_set() | {"client.key": sim_certs.old_set()["client.key"]}
    (finding,) = rehearse(files)
    assert finding.file == "client.key"
    assert "key values mismatch" in finding.cause


def test_damaged_factor_files_fail():
    files = sim_certs.new_set()
    (finding,) = rehearse(files | {"client.key.rand": files["client.key.rand"][:-1]})
    assert finding.file == "client.key.cipher"
    assert "bytes long" in finding.cause


@pytest.mark.parametrize("name", certset.NAMES)
def test_a_missing_file_is_named(name):
    files = {key: body for key, body in sim_certs.new_set().items() if key != name}
    (finding,) = rehearse(files)
    assert name in finding.cause


@pytest.mark.parametrize("name", ["server.crt", "cacert.pem", "client.key"])
def test_garbage_is_named(name):
    findings = rehearse(sim_certs.new_set() | {name: b"garbage"})
    assert {finding.file for finding in findings} == {name}


def test_further_certificates_of_a_crt_are_ignored_as_cm_does():
    files = sim_certs.new_set()
    assert rehearse(files | {"server.crt": files["server.crt"] + sim_certs.old_set()["server.crt"]}) == ()


def test_two_sets_of_one_ca_work_together():
    assert rehearse(sim_certs.bent(serial=5), sim_certs.bent(serial=6)) == ()


def test_two_sets_of_two_cas_do_not():
    findings = rehearse(sim_certs.new_set(), sim_certs.old_set())
    assert failed_links(findings) == {CLIENTS, SERVERS, AGENTS}


def test_two_sets_that_trust_both_cas_work_together():
    both = ("old", "new")
    assert rehearse(sim_certs.bent(trusted=both), sim_certs.bent(authority="new", trusted=both)) == ()


def test_one_side_that_trusts_both_is_not_enough():
    assert rehearse(sim_certs.bent(trusted=("old", "new")), sim_certs.new_set()) != ()


def test_a_good_revocation_list_passes():
    crl = sim_certs.revocation_list("new", 999)
    assert rehearse(sim_certs.new_set() | {"server.crl": crl, "client.crl": crl}) == ()


def test_a_revoked_client_fails_at_cm_server():
    crl = sim_certs.revocation_list("new", 22)
    findings = rehearse(sim_certs.new_set() | {"server.crl": crl})
    assert failed_links(findings) == {CLIENTS}
    assert all("accepting side refuses" in finding.cause and "(23)" in finding.cause for finding in findings)


def test_a_revocation_list_left_over_from_the_old_ca_fails():
    findings = rehearse(sim_certs.new_set() | {"client.crl": sim_certs.revocation_list("old")})
    assert failed_links(findings) == {CLIENTS}
    assert all("(3)" in finding.cause for finding in findings)


def test_an_empty_set_is_told():
    (finding,) = rehearse({})
    assert "missing: cacert.pem" in finding.cause


# The former and the new set


def test_sets_of_one_ca_can_talk():
    found = overlap(sim_certs.old_set(), sim_certs.bent(serial=7))
    assert found == Overlap(unknown="", same_ca=True)
    assert found.can_talk is True


def test_sets_of_two_cas_cannot_talk_either_way():
    found = overlap(sim_certs.old_set(), sim_certs.new_set())
    assert found.can_talk is False
    assert found.same_ca is False
    assert [(each.connecting, each.refusing) for each in found.refusals] == [
        (Side.NEW, Side.NEW),
        (Side.FORMER, Side.FORMER),
    ], "twelve handshakes that fail alike are two refusals"
    for each in found.refusals:
        assert each.links == (CLIENTS, SERVERS, AGENTS)
        assert each.versions == ("TLS 1.2", "TLS 1.3")
        other = each.refusing.other
        said = (
            f"the CAs differ: cacert.pem of the {each.refusing} set does not have the CA of the {other} one"
        )
        assert each.cause == said
        assert "the connecting side refuses: " in each.detail


def both_cas(own: dict[str, bytes], other: dict[str, bytes]) -> dict[str, bytes]:
    return own | {"cacert.pem": own["cacert.pem"] + other["cacert.pem"]}


def test_sets_that_trust_both_cas_can_talk():
    old, new = sim_certs.old_set(), sim_certs.new_set()
    assert overlap(both_cas(old, new), both_cas(new, old)).can_talk is True


def test_trust_on_one_side_is_not_enough():
    """Both sides show a certificate."""
    old, new = sim_certs.old_set(), sim_certs.new_set()
    for found, refusing in (
        (overlap(old, both_cas(new, old)), Side.FORMER),
        (overlap(both_cas(old, new), new), Side.NEW),
    ):
        assert found.can_talk is False
        assert {each.refusing for each in found.refusals} == {refusing}, "only one side refuses"
        assert {each.connecting for each in found.refusals} == set(Side), "and does so both ways"
        assert all(each.cause.startswith("not all CAs are the same") for each in found.refusals)


def test_a_former_leaf_without_a_purpose_is_told_in_plain_words_and_by_its_links():
    old = sim_certs.bent(server_usage=SERVER_AUTH)
    found = overlap(old, sim_certs.bent(serial=7))
    assert {(each.connecting, each.refusing, each.links) for each in found.refusals} == {
        (Side.FORMER, Side.NEW, (SERVERS,))
    }
    assert all("lacks a purpose (extended key usage)" in each.cause for each in found.refusals)


def test_a_revocation_list_of_one_ca_cuts_off_the_other():
    """Facts section 17."""
    old, new = sim_certs.old_set(), sim_certs.new_set()
    former = both_cas(old, new) | {"client.crl": sim_certs.revocation_list("old")}
    found = overlap(former, both_cas(new, old))
    assert found.can_talk is False
    assert all("(3)" in each.detail for each in found.refusals)
    assert all(each.cause.startswith("a CRL of the former set") for each in found.refusals)


@pytest.mark.parametrize(
    ("former", "words"),
    [
        (None, "no former set"),
        ({}, "missing: cacert.pem"),
        (sim_certs.old_set() | {"server.key.rand": b"x" * 24}, "server.key.cipher"),
    ],
)
def test_without_a_former_set_that_could_be_used_it_is_not_known(former, words):
    found = overlap(former, sim_certs.new_set())
    assert found.can_talk is None
    assert words in found.unknown


def test_a_new_set_that_fails_is_not_tried_with_the_former_one():
    held = hold(sim_certs.bent(server_usage=SERVER_AUTH), sim_certs.old_set())
    assert failed_links(held.findings) == {SERVERS}
    assert held.overlap.can_talk is None
    good = hold(sim_certs.new_set(), sim_certs.old_set())
    assert good.findings == ()
    assert good.overlap.can_talk is False


def test_memory_files_leave_no_descriptor_behind():
    before = os.listdir("/proc/self/fd")
    assert rehearse(sim_certs.new_set()) == ()
    assert rehearse(sim_certs.new_set() | {"client.key": b"garbage"}) != ()
    assert os.listdir("/proc/self/fd") == before


NOT_DUMPABLE = """
import ctypes, os, sys
from gausscert_agent.drivers.memory_file import memory_file
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0  # PR_SET_DUMPABLE
with memory_file(b"x" * 100_000) as path:
    assert open(path, "rb").read() == b"x" * 100_000
"""


def test_memory_files_work_for_an_ordinary_user_in_a_process_that_is_not_dumpable():
    completed = subprocess.run(
        [sys.executable, "-c", NOT_DUMPABLE], capture_output=True, text=True, check=False
    )
    assert (completed.returncode, completed.stderr) == (0, "")


def test_a_memory_file_is_gone_after_its_block():
    with memory_file(b"body") as path, open(path, "rb") as file:
        assert file.read() == b"body"
    assert not os.path.exists(path)
