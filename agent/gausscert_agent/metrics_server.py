"""The endpoint that Prometheus scrapes: GET /metrics over plain HTTP, with bounds."""

from __future__ import annotations

import http.server
import logging
import socket
import socketserver
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from gausscert_common.errors import InvalidInput, Reason
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

logger = logging.getLogger(__name__)

PATH: Final = "/metrics"
AT_ONCE: Final = 8
_PATIENCE_S: Final = 5.0
"""For a caller that says nothing."""
LONGEST_S: Final = 15.0
"""For one that says a little now and then."""
_POLL_S: Final = 0.1


class MetricsServer:
    """Listens from the start on, serves from `start` on.

    Args:
        listen: "host:port".
        registry: What there is to tell.

    Raises:
        InvalidInput: CONFIG_INVALID; the port cannot be had.
    """

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        try:
            self._server = _Server(listen, registry)
        except OSError as error:
            raise InvalidInput(
                Reason.CONFIG_INVALID,
                f"metrics cannot listen on {listen}: {(error.strerror or str(error)).lower()}",
                remedy="see what else listens there (ss -ltnp), or set another metrics.listen",
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="gausscert-metrics", daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()
        logger.info("metrics are served", extra={"port": self.port})

    def close(self) -> None:
        """Serve no more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, listen: str, registry: CollectorRegistry) -> None:
        host, _, port = listen.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        self.address_family, _, _, _, address = found[0]
        self.registry = registry
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)  # type: ignore[arg-type] # an IPv6 address has four parts

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as its base
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        over = threading.Timer(LONGEST_S, _hang_up, (request,))
        over.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            over.cancel()
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """A caller that hung up, or took too long."""
        logger.debug("a scrape was cut short")


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):  # the caller has gone by himself
        request.shutdown(socket.SHUT_RDWR)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = _PATIENCE_S
    server_version = "gausscert-agent"
    sys_version = ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        try:
            body = encode(self.server.registry)
        except Exception as error:  # noqa: BLE001 - the outermost loop of this thread; the text stays here
            logger.error("metrics cannot be told", extra={"exception": type(error).__name__})
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base
        logger.debug("scraped", extra={"said": format % args})
