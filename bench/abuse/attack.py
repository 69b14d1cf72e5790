"""One kind of abuse, as a program: begins, says "ready", goes on until its input ends, and tells what it met.

    python -m bench.abuse.attack pings 127.0.0.1:7443 NAME ca.crt observer.crt observer.key

In a process of its own, so that whoever measures beside it measures the agent and not this. The benchmark and
the tests of the edge both run it.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from gausscert_common import identity

SILENT: Final = 300
CALLS: Final = 1000
FLOODS: Final = 8
BOMB_BYTES: Final = 128 * 2**20
"""Of zeros; gzip makes 128 KiB of them, well below the 1 MiB that an agent takes."""

BODY_BYTES: Final = 1_000_000
CONNECTIONS: Final = 63
"""Of whoever makes a thousand calls; an agent lets through some of each, and the others wait in turn."""
_GET_NODE: Final = f"/{identity.AGENT_SERVICE}/GetNode"
_PREPARE: Final = f"/{identity.AGENT_SERVICE}/Prepare"
_NOTHING: Final = f"/{identity.AGENT_SERVICE}/Nothing"
_JUDGE: Final = f"/{identity.AGENT_SERVICE}/Judge"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS, _PING = 4, 6


@dataclass
class Attack:
    """Whom, as whom, until when, and what was met."""

    address: str
    name: str
    ca: str
    cert: str
    key: str
    over: threading.Event = field(default_factory=threading.Event)
    met: Counter[str] = field(default_factory=Counter)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        """Once more."""
        with self._counting:
            self.met[what] += 1

    def connect(self) -> socket.socket:
        """A bare connection."""
        host, _, port = self.address.rpartition(":")
        return socket.create_connection((host, int(port)), 10)

    def channel(self, **more: int) -> grpc.Channel:
        """A channel of its own."""
        read = [open(path, "rb").read() for path in (self.ca, self.key, self.cert)]  # noqa: SIM115
        options = {"grpc.ssl_target_name_override": self.name, "grpc.use_local_subchannel_pool": 1} | more
        return grpc.secure_channel(
            self.address, grpc.ssl_channel_credentials(*read), options=list(options.items())
        )


def silent(attack: Attack, ready: Callable[[], None]) -> None:
    """Connections on which nothing is ever said; each that is closed is opened again."""
    held: list[socket.socket] = []
    while not attack.over.wait(0.05):
        for each in [each for each in held if _is_closed(each)]:
            held.remove(each)
            each.close()
            attack.count("closed")
        while len(held) < SILENT:
            held.append(attack.connect())
            attack.count("opened")
        ready()
    for each in held:
        each.close()


def pings(attack: Attack, ready: Callable[[], None]) -> None:
    """Connections that do nothing but ping; each that is told to go comes back."""
    threads = [threading.Thread(target=_pings, args=(attack,)) for _ in range(FLOODS)]
    for each in threads:
        each.start()
    ready()
    for each in threads:
        each.join()


def _pings(attack: Attack) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(attack.ca)
    context.load_cert_chain(attack.cert, attack.key)
    context.set_alpn_protocols(["h2"])
    while not attack.over.is_set():
        try:
            with attack.connect() as raw, context.wrap_socket(raw) as line:
                line.sendall(_PREFACE + _frame(_SETTINGS, b""))
                attack.count("connected")
                _flood(attack, line)
        except OSError:
            attack.count("broken")


def _flood(attack: Attack, line: ssl.SSLSocket) -> None:
    heard = b""
    line.settimeout(0.2)
    while not attack.over.is_set():
        line.sendall(_frame(_PING, bytes(8)) * 100)
        try:
            said = line.recv(65536)
        except TimeoutError:
            continue
        heard += said
        if b"too_many_pings" in heard:
            attack.count("told too_many_pings")
        if not said or b"too_many_pings" in heard:
            return
        heard = heard[-64:]


def strangers(attack: Attack, ready: Callable[[], None]) -> None:
    """Handshakes without a certificate, one after the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(attack.ca)
    context.set_alpn_protocols(["h2"])
    while not attack.over.is_set():
        try:
            with attack.connect() as raw, context.wrap_socket(raw) as line:
                line.sendall(_PREFACE + _frame(_SETTINGS, b""))
                attack.count("refused" if not line.recv(1) else "let in")
        except OSError:
            attack.count("refused")
        ready()


def calls(attack: Attack, ready: Callable[[], None]) -> None:
    """A thousand calls at once, and another one for each that has ended; ready when as many have, and all
    connections are open."""
    _crowd(attack, ready, CALLS, _GET_NODE, lead=CALLS)


def bodies(attack: Attack, ready: Callable[[], None]) -> None:
    """Two thousand with requests as large as they may be, which nobody has asked for yet."""
    _crowd(attack, ready, 2 * CALLS, _PREPARE, bytes(BODY_BYTES))


def _crowd(
    attack: Attack, ready: Callable[[], None], calls: int, rpc: str, body: bytes = b"", *, lead: int = 0
) -> None:
    channels = [attack.channel() for _ in range(calls * CONNECTIONS // CALLS)]
    slots = threading.Semaphore(calls)

    def ended(done: Any) -> None:  # noqa: ANN401 - the stubs know only what futures have
        attack.count(str(done.code().name))
        slots.release()

    number = 0
    while not attack.over.is_set():
        slots.acquire()
        number += 1
        call = channels[number % len(channels)].unary_unary(rpc, bytes, bytes)
        call.future(body, timeout=5).add_done_callback(ended)
        if number >= calls + lead:
            ready()
    for _ in range(calls):
        slots.acquire()
    for channel in channels:
        channel.close()


def denied(attack: Attack, ready: Callable[[], None]) -> None:
    """As `calls`, but of what may not be called."""
    _crowd(attack, ready, CALLS, _PREPARE, lead=CALLS)


def unknown(attack: Attack, ready: Callable[[], None]) -> None:
    """As `calls`, but of what there is not."""
    _crowd(attack, ready, CALLS, _NOTHING, lead=CALLS)


def bombs(attack: Attack, ready: Callable[[], None]) -> None:
    """Requests of zeros, a thousand times as large as they look."""
    zeros = bytes(BOMB_BYTES)
    with attack.channel() as channel:
        while not attack.over.is_set():
            for rpc in (_PREPARE, _JUDGE):
                call = channel.unary_unary(rpc, bytes, bytes)
                done = call.future(zeros, timeout=30, compression=grpc.Compression.Gzip)
                attack.count(str(done.code().name))
            ready()


def oversized(attack: Attack, ready: Callable[[], None]) -> None:
    """Requests that are as large as they look, and larger than they may be."""
    with attack.channel() as channel:
        while not attack.over.is_set():
            done = channel.unary_unary(_PREPARE, bytes, bytes).future(bytes(8 * 2**20), timeout=30)
            attack.count(str(done.code().name))
            ready()


ATTACKS: Final = {
    "silent": silent,
    "strangers": strangers,
    "pings": pings,
    "calls": calls,
    "denied": denied,
    "unknown": unknown,
    "bodies": bodies,
    "bombs": bombs,
    "oversized": oversized,
}


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=ATTACKS)
    for name in ("address", "name", "ca", "cert", "key"):
        parser.add_argument(name)
    options = vars(parser.parse_args())
    kind = ATTACKS[options.pop("kind")]
    attack = Attack(**options)
    said = threading.Event()

    def ready() -> None:
        if not said.is_set():
            said.set()
            print("ready", flush=True)

    threading.Thread(target=_end_with_input, args=(attack,), daemon=True).start()
    kind(attack, ready)
    print(json.dumps(attack.met))
    return 0


def _end_with_input(attack: Attack) -> None:
    sys.stdin.read()
    attack.over.set()


def _frame(kind: int, body: bytes) -> bytes:
    """RFC 9113 section 4.1, on stream 0."""
    return struct.pack(">I", len(body))[1:] + bytes((kind, 0)) + bytes(4) + body


def _is_closed(line: socket.socket) -> bool:
    try:
        return line.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
