"""A node asks its own agent how it is: over the wire as everybody else, with the agent's own credential, for
that may ask for nothing but health (`identity`, roles)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import grpc
from gausscert_common import identity
from gausscert_common.errors import NodeRefusal, Reason
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped] # ships no stubs

if TYPE_CHECKING:
    from gausscert_agent.config import AgentConfig
    from gausscert_agent.credential_source import CredentialSource

WITHIN_S: Final = 20.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - it is what is listened on


def require(config: AgentConfig, source: CredentialSource, within_s: float = WITHIN_S) -> None:
    """Ask once.

    Args:
        config: Of the agent.
        source: Of its credential.
        within_s: How long an answer is waited for.

    Raises:
        NodeRefusal: NODE_UNFIT: it does not answer, or says that it is not healthy.
        InvalidInput: CREDENTIAL_INVALID.
    """
    options = (
        ("grpc.ssl_target_name_override", identity.node_dns_name(config.cluster, config.name)),
        ("grpc.enable_http_proxy", 0),
    )
    with grpc.secure_channel(_own_address(config.listen), source.as_client(), options=options) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        try:
            answer = check(health_pb2.HealthCheckRequest(), timeout=within_s)
        except grpc.RpcError as error:
            code = cast("grpc.Call", error).code()
            raise _unfit(config, f"the agent at {config.listen} does not answer: {code.name}") from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise _unfit(config, "the agent answers, but is not healthy")


def _own_address(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"{_EVERYWHERE.get(host, host)}:{port}"


def _unfit(config: AgentConfig, cause: str) -> NodeRefusal:
    remedy = "look at its log, and at gausscert status, which says why"
    return NodeRefusal(Reason.NODE_UNFIT, cause, node=config.name, remedy=remedy)
