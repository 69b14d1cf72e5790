import datetime

from gausscert.v1 import resources_pb2 as _resources_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TransactionRef(_message.Message):
    __slots__ = ("transaction_id", "epoch", "step")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    epoch: int
    step: _resources_pb2.Step
    def __init__(self, transaction_id: _Optional[str] = ..., epoch: _Optional[int] = ..., step: _Optional[_Union[_resources_pb2.Step, str]] = ...) -> None: ...

class GetNodeRequest(_message.Message):
    __slots__ = ("preflight",)
    PREFLIGHT_FIELD_NUMBER: _ClassVar[int]
    preflight: bool
    def __init__(self, preflight: bool = ...) -> None: ...

class GetNodeResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: _resources_pb2.Node
    def __init__(self, node: _Optional[_Union[_resources_pb2.Node, _Mapping]] = ...) -> None: ...

class JudgeRequest(_message.Message):
    __slots__ = ("bundle", "generation", "live", "crl_policy")
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    CRL_POLICY_FIELD_NUMBER: _ClassVar[int]
    bundle: _resources_pb2.Bundle
    generation: str
    live: bool
    crl_policy: _resources_pb2.CrlPolicy
    def __init__(self, bundle: _Optional[_Union[_resources_pb2.Bundle, _Mapping]] = ..., generation: _Optional[str] = ..., live: bool = ..., crl_policy: _Optional[_Union[_resources_pb2.CrlPolicy, str]] = ...) -> None: ...

class JudgeResponse(_message.Message):
    __slots__ = ("set", "findings", "overlap")
    SET_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    set: _resources_pb2.CertificateSet
    findings: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Finding]
    overlap: _resources_pb2.Overlap
    def __init__(self, set: _Optional[_Union[_resources_pb2.CertificateSet, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[_resources_pb2.Finding, _Mapping]]] = ..., overlap: _Optional[_Union[_resources_pb2.Overlap, _Mapping]] = ...) -> None: ...

class GetExpiryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetExpiryResponse(_message.Message):
    __slots__ = ("node", "clock", "certificates", "alert_threshold_days", "findings", "served", "control_plane")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    ALERT_THRESHOLD_DAYS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    SERVED_FIELD_NUMBER: _ClassVar[int]
    CONTROL_PLANE_FIELD_NUMBER: _ClassVar[int]
    node: str
    clock: _timestamp_pb2.Timestamp
    certificates: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Certificate]
    alert_threshold_days: int
    findings: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Finding]
    served: _resources_pb2.Certificate
    control_plane: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Certificate]
    def __init__(self, node: _Optional[str] = ..., clock: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., certificates: _Optional[_Iterable[_Union[_resources_pb2.Certificate, _Mapping]]] = ..., alert_threshold_days: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[_resources_pb2.Finding, _Mapping]]] = ..., served: _Optional[_Union[_resources_pb2.Certificate, _Mapping]] = ..., control_plane: _Optional[_Iterable[_Union[_resources_pb2.Certificate, _Mapping]]] = ...) -> None: ...

class ProbeRequest(_message.Message):
    __slots__ = ("query", "timeout")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    query: bool
    timeout: _duration_pb2.Duration
    def __init__(self, query: bool = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ProbeResponse(_message.Message):
    __slots__ = ("served", "cluster", "findings")
    SERVED_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    served: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Served]
    cluster: _resources_pb2.ClusterState
    findings: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Finding]
    def __init__(self, served: _Optional[_Iterable[_Union[_resources_pb2.Served, _Mapping]]] = ..., cluster: _Optional[_Union[_resources_pb2.ClusterState, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[_resources_pb2.Finding, _Mapping]]] = ...) -> None: ...

class WatchTransactionRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchTransactionResponse(_message.Message):
    __slots__ = ("transaction_id", "phase", "fence", "activity", "at")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: _resources_pb2.Phase
    fence: _resources_pb2.Fence
    activity: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[_Union[_resources_pb2.Phase, str]] = ..., fence: _Optional[_Union[_resources_pb2.Fence, _Mapping]] = ..., activity: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AcquireRequest(_message.Message):
    __slots__ = ("ref", "holder", "lease", "take_over", "excluded")
    REF_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    TAKE_OVER_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    holder: str
    lease: _duration_pb2.Duration
    take_over: bool
    excluded: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ..., holder: _Optional[str] = ..., lease: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., take_over: bool = ..., excluded: _Optional[_Iterable[str]] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: _resources_pb2.Node
    def __init__(self, node: _Optional[_Union[_resources_pb2.Node, _Mapping]] = ...) -> None: ...

class PrepareRequest(_message.Message):
    __slots__ = ("ref", "participants", "expected_live_digest", "bundle", "generation", "live", "enable_ssl", "restart", "crl_policy", "excluded", "joins")
    REF_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LIVE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SSL_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    CRL_POLICY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    JOINS_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    participants: _containers.RepeatedScalarFieldContainer[str]
    expected_live_digest: str
    bundle: _resources_pb2.Bundle
    generation: str
    live: bool
    enable_ssl: _resources_pb2.SslWish
    restart: _resources_pb2.RestartScope
    crl_policy: _resources_pb2.CrlPolicy
    excluded: _containers.RepeatedScalarFieldContainer[str]
    joins: str
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ..., participants: _Optional[_Iterable[str]] = ..., expected_live_digest: _Optional[str] = ..., bundle: _Optional[_Union[_resources_pb2.Bundle, _Mapping]] = ..., generation: _Optional[str] = ..., live: bool = ..., enable_ssl: _Optional[_Union[_resources_pb2.SslWish, str]] = ..., restart: _Optional[_Union[_resources_pb2.RestartScope, str]] = ..., crl_policy: _Optional[_Union[_resources_pb2.CrlPolicy, str]] = ..., excluded: _Optional[_Iterable[str]] = ..., joins: _Optional[str] = ...) -> None: ...

class PrepareResponse(_message.Message):
    __slots__ = ("stage", "findings", "overlap")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    stage: _resources_pb2.CertificateSet
    findings: _containers.RepeatedCompositeFieldContainer[_resources_pb2.Finding]
    overlap: _resources_pb2.Overlap
    def __init__(self, stage: _Optional[_Union[_resources_pb2.CertificateSet, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[_resources_pb2.Finding, _Mapping]]] = ..., overlap: _Optional[_Union[_resources_pb2.Overlap, _Mapping]] = ...) -> None: ...

class StopRequest(_message.Message):
    __slots__ = ("ref", "scope", "executor", "timeout")
    REF_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    scope: _resources_pb2.RestartScope
    executor: bool
    timeout: _duration_pb2.Duration
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ..., scope: _Optional[_Union[_resources_pb2.RestartScope, str]] = ..., executor: bool = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StopResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SwapRequest(_message.Message):
    __slots__ = ("ref",)
    REF_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ...) -> None: ...

class SwapResponse(_message.Message):
    __slots__ = ("live",)
    LIVE_FIELD_NUMBER: _ClassVar[int]
    live: _resources_pb2.CertificateSet
    def __init__(self, live: _Optional[_Union[_resources_pb2.CertificateSet, _Mapping]] = ...) -> None: ...

class StartRequest(_message.Message):
    __slots__ = ("ref", "scope", "executor", "timeout")
    REF_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    scope: _resources_pb2.RestartScope
    executor: bool
    timeout: _duration_pb2.Duration
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ..., scope: _Optional[_Union[_resources_pb2.RestartScope, str]] = ..., executor: bool = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StartResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CommitRequest(_message.Message):
    __slots__ = ("ref", "start_follows")
    REF_FIELD_NUMBER: _ClassVar[int]
    START_FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    start_follows: bool
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ..., start_follows: bool = ...) -> None: ...

class CommitResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PurgeRequest(_message.Message):
    __slots__ = ("ref", "settled", "start_follows")
    REF_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    START_FOLLOWS_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    settled: _containers.RepeatedScalarFieldContainer[str]
    start_follows: bool
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ..., settled: _Optional[_Iterable[str]] = ..., start_follows: bool = ...) -> None: ...

class PurgeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AbortRequest(_message.Message):
    __slots__ = ("ref",)
    REF_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ...) -> None: ...

class AbortResponse(_message.Message):
    __slots__ = ("live",)
    LIVE_FIELD_NUMBER: _ClassVar[int]
    live: _resources_pb2.CertificateSet
    def __init__(self, live: _Optional[_Union[_resources_pb2.CertificateSet, _Mapping]] = ...) -> None: ...

class CleanRequest(_message.Message):
    __slots__ = ("ref",)
    REF_FIELD_NUMBER: _ClassVar[int]
    ref: TransactionRef
    def __init__(self, ref: _Optional[_Union[TransactionRef, _Mapping]] = ...) -> None: ...

class CleanResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EncryptRequest(_message.Message):
    __slots__ = ("request_id", "server_password", "client_password")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    server_password: str
    client_password: str
    def __init__(self, request_id: _Optional[str] = ..., server_password: _Optional[str] = ..., client_password: _Optional[str] = ...) -> None: ...

class EncryptResponse(_message.Message):
    __slots__ = ("live",)
    LIVE_FIELD_NUMBER: _ClassVar[int]
    live: _resources_pb2.CertificateSet
    def __init__(self, live: _Optional[_Union[_resources_pb2.CertificateSet, _Mapping]] = ...) -> None: ...

class SetEnableSslRequest(_message.Message):
    __slots__ = ("request_id", "enable_ssl")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SSL_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    enable_ssl: _resources_pb2.SslWish
    def __init__(self, request_id: _Optional[str] = ..., enable_ssl: _Optional[_Union[_resources_pb2.SslWish, str]] = ...) -> None: ...

class SetEnableSslResponse(_message.Message):
    __slots__ = ("enable_ssl",)
    ENABLE_SSL_FIELD_NUMBER: _ClassVar[int]
    enable_ssl: _resources_pb2.SslSwitch
    def __init__(self, enable_ssl: _Optional[_Union[_resources_pb2.SslSwitch, _Mapping]] = ...) -> None: ...

class BeginRenewalRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class BeginRenewalResponse(_message.Message):
    __slots__ = ("request", "certificate")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    request: bytes
    certificate: bytes
    def __init__(self, request: _Optional[bytes] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class FinishRenewalRequest(_message.Message):
    __slots__ = ("request_id", "certificate")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    certificate: bytes
    def __init__(self, request_id: _Optional[str] = ..., certificate: _Optional[bytes] = ...) -> None: ...

class FinishRenewalResponse(_message.Message):
    __slots__ = ("credential",)
    CREDENTIAL_FIELD_NUMBER: _ClassVar[int]
    credential: _resources_pb2.Certificate
    def __init__(self, credential: _Optional[_Union[_resources_pb2.Certificate, _Mapping]] = ...) -> None: ...

class ExtendDenyListRequest(_message.Message):
    __slots__ = ("list",)
    LIST_FIELD_NUMBER: _ClassVar[int]
    list: bytes
    def __init__(self, list: _Optional[bytes] = ...) -> None: ...

class ExtendDenyListResponse(_message.Message):
    __slots__ = ("added", "total")
    ADDED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    added: int
    total: int
    def __init__(self, added: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class ReadAuditRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: int
    def __init__(self, after: _Optional[int] = ...) -> None: ...

class ReadAuditResponse(_message.Message):
    __slots__ = ("lines", "after")
    LINES_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    after: int
    def __init__(self, lines: _Optional[_Iterable[str]] = ..., after: _Optional[int] = ...) -> None: ...
