"""The least a Python program can be that answers gRPC over mutual TLS: what agents are measured against.

    python -P minimal_server.py CA CERT KEY HOST:PORT

Tells $NOTIFY_SOCKET when it serves, as an agent does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

METHOD = "/bench.Null/Call"
TELLING = "/bench.Null/Tell"
"""A call that is answered with a message of protobuf."""
LOADING = "/bench.Null/Load"
"""A call that needs `cryptography`."""
_ANSWER = bytes(200)


class _Null(grpc.GenericRpcHandler):
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        behavior = {LOADING: _load, TELLING: _tell}.get(handler_call_details.method, _null)
        return grpc.unary_unary_rpc_method_handler(behavior)


def _null(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    return _ANSWER


def _tell(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    from google.protobuf.timestamp_pb2 import Timestamp

    return Timestamp(seconds=1).SerializeToString()


def _load(_request: bytes, _context: grpc.ServicerContext) -> bytes:
    """What opens keys and reads certificates."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    return _ANSWER if x509 and serialization else b""


def _read(name: str) -> bytes:
    with open(name, "rb") as opened:  # pathlib would weigh more than this
        return opened.read()


def main() -> None:
    """Serve until SIGTERM."""
    ca, cert, key = (_read(name) for name in sys.argv[1:4])
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((_Null(),))
    tls = grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)
    server.add_secure_port(sys.argv[4], tls)
    server.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(os.environ["NOTIFY_SOCKET"])
        manager.sendall(b"READY=1")
    signal.sigwait({signal.SIGTERM})
    server.stop(None)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
