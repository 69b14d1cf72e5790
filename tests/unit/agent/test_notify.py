"""The service manager is told; that nobody listens is no reason to fail."""

from __future__ import annotations

import os
import socket

import pytest
from gausscert_agent import notify


@pytest.fixture
def manager():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(5)
        yield listening


@pytest.mark.parametrize("message", [notify.READY, notify.STOPPING])
def test_a_socket_with_a_path_is_told(manager, tmp_path, message):
    manager.bind(str(tmp_path / "notify"))
    notify.tell(message, {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert manager.recv(100) == message.encode()


def test_a_socket_with_an_abstract_name_is_told(manager):
    name = f"gausscert-test-{os.getpid()}"
    manager.bind(f"\0{name}")
    notify.tell(notify.READY, {"NOTIFY_SOCKET": f"@{name}"})
    assert manager.recv(100) == b"READY=1"


def test_without_a_socket_nothing_is_told(caplog):
    notify.tell(notify.READY, {})
    notify.tell(notify.READY, {"NOTIFY_SOCKET": ""})
    assert caplog.text == ""


@pytest.mark.parametrize("address", ["/nowhere/notify", "@nobody-listens-here", "relative", "/" + "x" * 200])
def test_whoever_cannot_be_told_is_no_reason_to_fail(address, caplog):
    notify.tell(notify.READY, {"NOTIFY_SOCKET": address})
    assert "cannot be told" in caplog.text
