"""What CM's logs say, in the texts of the facts (sections 12 and 17), and nothing else of them."""

from __future__ import annotations

import pytest
from gausscert_agent.drivers.cm_signatures import AGENT, CTL, DCC, SERVER, SIGNATURES, read

MODE = (
    '[cm_ssl_verify_file_stat] SSL server certificate file "/omm/share/sslcert/cm/server.key" has execute, '
    "group or world access permission."
)

LINES = [
    (SERVER, MODE, "CM_LOG_FILE_MODE", "server.key"),
    (
        DCC,
        'SSL server certificate file "/x/cacert.pem" has execute, group or world access permission.',
        "CM_LOG_FILE_MODE",
        "cacert.pem",
    ),
    (SERVER, "[INST] Cert file or Key file is not exists.", "CM_LOG_FILE_MISSING", ""),
    (SERVER, "ssl file does not exist.", "CM_LOG_FILE_MISSING", ""),
    (SERVER, "[INST] srv verify ssl keypwd failed.", "CM_LOG_FACTOR_FILES", ""),
    (
        AGENT,
        'could not open file "/x/cm/client.key.rand": No such file or directory',
        "CM_LOG_FACTOR_FILES",
        "client.key.rand",
    ),
    (SERVER, "Failed to ssl text, cms will exit.", "CM_LOG_FACTOR_FILES", ""),
    (DCC, "SSL init error: Unable to get private key.", "CM_LOG_KEY_PASSWORD", ""),
    (CTL, "Private key does not match the certificate public key", "CM_LOG_KEY_MISMATCH", ""),
    (DCC, "SSL init error: Unable to get certificate.", "CM_LOG_NOT_LOADED", ""),
    (SERVER, "Load CA certificate file failed", "CM_LOG_NOT_LOADED", ""),
    *(
        (AGENT, f"SSL verify certificate failed: result code is {code}, whatever", found, "")
        for code, found in {
            2: "CM_LOG_CHAIN",
            19: "CM_LOG_CHAIN",
            20: "CM_LOG_CHAIN",
            21: "CM_LOG_CHAIN",
            3: "CM_LOG_CRL",
            8: "CM_LOG_CRL",
            12: "CM_LOG_CRL",
            26: "CM_LOG_PURPOSE",
            7: "CM_LOG_SIGNATURE",
            9: "CM_LOG_NOT_YET_VALID",
            10: "CM_LOG_EXPIRED",
        }.items()
    ),
    (SERVER, "[cm_ssl_check_cert_expire] The server certificate is expired", "CM_LOG_EXPIRED", ""),
    (
        SERVER,
        "invalid ssl expire alert threshold 5, must between 7 and 180",
        "CM_LOG_THRESHOLD",
        "",
    ),
    (
        SERVER,
        "It will disconnect the connection for msg type 0 is invalid,the msg is 1.",
        "CM_LOG_WITHOUT_SSL",
        "",
    ),
    (SERVER, "invalid host(10.9.9.9)", "CM_LOG_HOST", ""),
    (AGENT, "init cma heartbeat conn by mes failed", "CM_LOG_HEARTBEAT", ""),
    (SERVER, "ssl init failed.", "CM_LOG_SSL_INIT", ""),
    (SERVER, "Failed to start dcc.", "CM_LOG_DCC", ""),
    (SERVER, "[ProcessSslConnRequest]srv ssl accept failed,connSeq=4.", "CM_LOG_ACCEPT", ""),
]


@pytest.mark.parametrize(("log", "line", "code", "file"), LINES)
def test_each_signature_is_told_with_cause_and_remedy(log, line, code, file):
    (found,) = read({log: f"2026-07-01 10:00:00.123 tid=1 x ERROR: {line}\n"})

    assert (found.code, found.file) == (code, file)
    assert found.cause.startswith(SIGNATURES[code].cause)
    assert log in found.cause
    assert found.remedy


def test_every_row_of_the_table_has_its_line_here():
    assert {code for _, _, code, _ in LINES} == set(SIGNATURES)


def test_what_is_general_is_told_only_where_nothing_says_more():
    general = "ssl init failed.\nFailed to start dcc.\n"

    assert [one.code for one in read({SERVER: general})] == ["CM_LOG_SSL_INIT", "CM_LOG_DCC"]
    assert [one.code for one in read({SERVER: general, DCC: "Unable to get private key"})] == [
        "CM_LOG_KEY_PASSWORD"
    ]


def test_nothing_of_a_line_is_passed_on_but_the_name_of_a_file_of_the_set():
    text = (
        "environ: SECRET=Gauss#9Test\n"
        'certificate file "/Gauss#9Test/Gauss#9Test" has execute, group or world access permission.\n'
        'could not open file "/Gauss#9Test/server.key.rand": Gauss#9Test\n'
        "invalid host(Gauss#9Test)\n"
    )

    found = read({SERVER: text})

    assert [one.code for one in found] == ["CM_LOG_FILE_MODE", "CM_LOG_FACTOR_FILES", "CM_LOG_HOST"]
    assert [one.file for one in found] == ["", "server.key.rand", ""]
    assert "Gauss#9Test" not in repr(found)


def test_a_log_without_a_signature_says_nothing():
    healthy = "[INST] srv_init_ssl: ssl init success.\nresult code is 0\nThe ca will expire in 10 days\n"

    assert read({SERVER: healthy, AGENT: "connected to the cm_server primary"}) == ()


def test_the_agents_line_in_another_log_is_not_the_agents():
    assert read({SERVER: "init cma heartbeat conn by mes failed"}) == ()
