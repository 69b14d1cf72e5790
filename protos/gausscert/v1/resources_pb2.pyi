import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_NONE: _ClassVar[Phase]
    PHASE_PREPARING: _ClassVar[Phase]
    PHASE_PREPARED: _ClassVar[Phase]
    PHASE_SWAPPED: _ClassVar[Phase]
    PHASE_COMMITTED: _ClassVar[Phase]
    PHASE_ABORTED: _ClassVar[Phase]

class Step(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STEP_ACQUIRE_UNSPECIFIED: _ClassVar[Step]
    STEP_PREPARE: _ClassVar[Step]
    STEP_STOP: _ClassVar[Step]
    STEP_SWAP: _ClassVar[Step]
    STEP_START: _ClassVar[Step]
    STEP_COMMIT: _ClassVar[Step]
    STEP_PURGE: _ClassVar[Step]
    STEP_ROLLBACK_STOP: _ClassVar[Step]
    STEP_ABORT: _ClassVar[Step]
    STEP_ROLLBACK_START: _ClassVar[Step]
    STEP_CLEAN: _ClassVar[Step]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_COMMITTED: _ClassVar[Outcome]
    OUTCOME_ABORTED: _ClassVar[Outcome]

class LiveState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIVE_STATE_UNSPECIFIED: _ClassVar[LiveState]
    LIVE_STATE_OLD: _ClassVar[LiveState]
    LIVE_STATE_NEW: _ClassVar[LiveState]
    LIVE_STATE_FOREIGN: _ClassVar[LiveState]

class SetState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SET_STATE_UNSPECIFIED: _ClassVar[SetState]
    SET_STATE_ABSENT: _ClassVar[SetState]
    SET_STATE_WHOLE: _ClassVar[SetState]
    SET_STATE_INCOMPLETE: _ClassVar[SetState]

class CertificateKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CERTIFICATE_KIND_UNSPECIFIED: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_SERVER: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_CLIENT: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_CA: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_CRL: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_EXTRA: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_CREDENTIAL: _ClassVar[CertificateKind]
    CERTIFICATE_KIND_CREDENTIAL_CA: _ClassVar[CertificateKind]

class ServedState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVED_STATE_UNSPECIFIED: _ClassVar[ServedState]
    SERVED_STATE_SSL_ON: _ClassVar[ServedState]
    SERVED_STATE_SSL_OFF: _ClassVar[ServedState]
    SERVED_STATE_UNREACHABLE: _ClassVar[ServedState]
    SERVED_STATE_REFUSED: _ClassVar[ServedState]

class SslValue(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SSL_VALUE_UNSPECIFIED: _ClassVar[SslValue]
    SSL_VALUE_ON: _ClassVar[SslValue]
    SSL_VALUE_OFF: _ClassVar[SslValue]
    SSL_VALUE_MISSING: _ClassVar[SslValue]
    SSL_VALUE_COMMENTED: _ClassVar[SslValue]
    SSL_VALUE_ABSENT: _ClassVar[SslValue]

class SslWish(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SSL_WISH_KEEP_UNSPECIFIED: _ClassVar[SslWish]
    SSL_WISH_ON: _ClassVar[SslWish]
    SSL_WISH_OFF: _ClassVar[SslWish]

class RestartScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESTART_SCOPE_UNSPECIFIED: _ClassVar[RestartScope]
    RESTART_SCOPE_CLUSTER: _ClassVar[RestartScope]
    RESTART_SCOPE_NODE: _ClassVar[RestartScope]
    RESTART_SCOPE_NONE: _ClassVar[RestartScope]

class CrlPolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CRL_POLICY_KEEP_UNSPECIFIED: _ClassVar[CrlPolicy]
    CRL_POLICY_DROP: _ClassVar[CrlPolicy]

class FactorBuild(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FACTOR_BUILD_UNSPECIFIED: _ClassVar[FactorBuild]
    FACTOR_BUILD_RELEASED: _ClassVar[FactorBuild]
    FACTOR_BUILD_LIBPQ_OFF: _ClassVar[FactorBuild]

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_FORMER: _ClassVar[Side]
    SIDE_NEW: _ClassVar[Side]

class Layout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAYOUT_UNSPECIFIED: _ClassVar[Layout]
    LAYOUT_EXCHANGE: _ClassVar[Layout]
    LAYOUT_DATA_LINK: _ClassVar[Layout]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_ERROR: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
PHASE_UNSPECIFIED: Phase
PHASE_NONE: Phase
PHASE_PREPARING: Phase
PHASE_PREPARED: Phase
PHASE_SWAPPED: Phase
PHASE_COMMITTED: Phase
PHASE_ABORTED: Phase
STEP_ACQUIRE_UNSPECIFIED: Step
STEP_PREPARE: Step
STEP_STOP: Step
STEP_SWAP: Step
STEP_START: Step
STEP_COMMIT: Step
STEP_PURGE: Step
STEP_ROLLBACK_STOP: Step
STEP_ABORT: Step
STEP_ROLLBACK_START: Step
STEP_CLEAN: Step
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_COMMITTED: Outcome
OUTCOME_ABORTED: Outcome
LIVE_STATE_UNSPECIFIED: LiveState
LIVE_STATE_OLD: LiveState
LIVE_STATE_NEW: LiveState
LIVE_STATE_FOREIGN: LiveState
SET_STATE_UNSPECIFIED: SetState
SET_STATE_ABSENT: SetState
SET_STATE_WHOLE: SetState
SET_STATE_INCOMPLETE: SetState
CERTIFICATE_KIND_UNSPECIFIED: CertificateKind
CERTIFICATE_KIND_SERVER: CertificateKind
CERTIFICATE_KIND_CLIENT: CertificateKind
CERTIFICATE_KIND_CA: CertificateKind
CERTIFICATE_KIND_CRL: CertificateKind
CERTIFICATE_KIND_EXTRA: CertificateKind
CERTIFICATE_KIND_CREDENTIAL: CertificateKind
CERTIFICATE_KIND_CREDENTIAL_CA: CertificateKind
SERVED_STATE_UNSPECIFIED: ServedState
SERVED_STATE_SSL_ON: ServedState
SERVED_STATE_SSL_OFF: ServedState
SERVED_STATE_UNREACHABLE: ServedState
SERVED_STATE_REFUSED: ServedState
SSL_VALUE_UNSPECIFIED: SslValue
SSL_VALUE_ON: SslValue
SSL_VALUE_OFF: SslValue
SSL_VALUE_MISSING: SslValue
SSL_VALUE_COMMENTED: SslValue
SSL_VALUE_ABSENT: SslValue
SSL_WISH_KEEP_UNSPECIFIED: SslWish
SSL_WISH_ON: SslWish
SSL_WISH_OFF: SslWish
RESTART_SCOPE_UNSPECIFIED: RestartScope
RESTART_SCOPE_CLUSTER: RestartScope
RESTART_SCOPE_NODE: RestartScope
RESTART_SCOPE_NONE: RestartScope
CRL_POLICY_KEEP_UNSPECIFIED: CrlPolicy
CRL_POLICY_DROP: CrlPolicy
FACTOR_BUILD_UNSPECIFIED: FactorBuild
FACTOR_BUILD_RELEASED: FactorBuild
FACTOR_BUILD_LIBPQ_OFF: FactorBuild
SIDE_UNSPECIFIED: Side
SIDE_FORMER: Side
SIDE_NEW: Side
LAYOUT_UNSPECIFIED: Layout
LAYOUT_EXCHANGE: Layout
LAYOUT_DATA_LINK: Layout
SEVERITY_UNSPECIFIED: Severity
SEVERITY_ERROR: Severity
SEVERITY_WARNING: Severity

class Node(_message.Message):
    __slots__ = ("cluster", "name", "agent_version", "cm_version", "clock", "paths", "capabilities", "transaction", "live", "stage", "retired", "enable_ssl", "processes", "manually_stopped", "topology", "findings", "paused", "upgrading")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    CM_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    PATHS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SSL_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    MANUALLY_STOPPED_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    UPGRADING_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    name: str
    agent_version: str
    cm_version: str
    clock: _timestamp_pb2.Timestamp
    paths: Paths
    capabilities: Capabilities
    transaction: NodeTransaction
    live: CertificateSet
    stage: CertificateSet
    retired: _containers.RepeatedCompositeFieldContainer[RetiredSet]
    enable_ssl: SslSwitch
    processes: _containers.RepeatedCompositeFieldContainer[CmProcess]
    manually_stopped: bool
    topology: CmTopology
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    paused: bool
    upgrading: bool
    def __init__(self, cluster: _Optional[str] = ..., name: _Optional[str] = ..., agent_version: _Optional[str] = ..., cm_version: _Optional[str] = ..., clock: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., paths: _Optional[_Union[Paths, _Mapping]] = ..., capabilities: _Optional[_Union[Capabilities, _Mapping]] = ..., transaction: _Optional[_Union[NodeTransaction, _Mapping]] = ..., live: _Optional[_Union[CertificateSet, _Mapping]] = ..., stage: _Optional[_Union[CertificateSet, _Mapping]] = ..., retired: _Optional[_Iterable[_Union[RetiredSet, _Mapping]]] = ..., enable_ssl: _Optional[_Union[SslSwitch, _Mapping]] = ..., processes: _Optional[_Iterable[_Union[CmProcess, _Mapping]]] = ..., manually_stopped: bool = ..., topology: _Optional[_Union[CmTopology, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., paused: bool = ..., upgrading: bool = ...) -> None: ...

class Paths(_message.Message):
    __slots__ = ("cm_home", "set_directory", "state_directory")
    CM_HOME_FIELD_NUMBER: _ClassVar[int]
    SET_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    STATE_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    cm_home: str
    set_directory: str
    state_directory: str
    def __init__(self, cm_home: _Optional[str] = ..., set_directory: _Optional[str] = ..., state_directory: _Optional[str] = ...) -> None: ...

class Capabilities(_message.Message):
    __slots__ = ("layout", "cm_ctl", "factor_build")
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    CM_CTL_FIELD_NUMBER: _ClassVar[int]
    FACTOR_BUILD_FIELD_NUMBER: _ClassVar[int]
    layout: Layout
    cm_ctl: bool
    factor_build: FactorBuild
    def __init__(self, layout: _Optional[_Union[Layout, str]] = ..., cm_ctl: bool = ..., factor_build: _Optional[_Union[FactorBuild, str]] = ...) -> None: ...

class NodeTransaction(_message.Message):
    __slots__ = ("transaction_id", "phase", "fence", "holder", "held_since", "lease_left", "participants", "old_digest", "new_digest", "live_state", "tombstones", "promised_epoch", "restart", "enable_ssl", "begun_at", "excluded", "joins", "begun_by", "reached")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    HELD_SINCE_FIELD_NUMBER: _ClassVar[int]
    LEASE_LEFT_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    OLD_DIGEST_FIELD_NUMBER: _ClassVar[int]
    NEW_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LIVE_STATE_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    PROMISED_EPOCH_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    ENABLE_SSL_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_FIELD_NUMBER: _ClassVar[int]
    JOINS_FIELD_NUMBER: _ClassVar[int]
    BEGUN_BY_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    phase: Phase
    fence: Fence
    holder: str
    held_since: _timestamp_pb2.Timestamp
    lease_left: _duration_pb2.Duration
    participants: _containers.RepeatedScalarFieldContainer[str]
    old_digest: str
    new_digest: str
    live_state: LiveState
    tombstones: _containers.RepeatedCompositeFieldContainer[Tombstone]
    promised_epoch: int
    restart: RestartScope
    enable_ssl: SslWish
    begun_at: _timestamp_pb2.Timestamp
    excluded: _containers.RepeatedScalarFieldContainer[str]
    joins: str
    begun_by: str
    reached: Fence
    def __init__(self, transaction_id: _Optional[str] = ..., phase: _Optional[_Union[Phase, str]] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., holder: _Optional[str] = ..., held_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lease_left: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., participants: _Optional[_Iterable[str]] = ..., old_digest: _Optional[str] = ..., new_digest: _Optional[str] = ..., live_state: _Optional[_Union[LiveState, str]] = ..., tombstones: _Optional[_Iterable[_Union[Tombstone, _Mapping]]] = ..., promised_epoch: _Optional[int] = ..., restart: _Optional[_Union[RestartScope, str]] = ..., enable_ssl: _Optional[_Union[SslWish, str]] = ..., begun_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., excluded: _Optional[_Iterable[str]] = ..., joins: _Optional[str] = ..., begun_by: _Optional[str] = ..., reached: _Optional[_Union[Fence, _Mapping]] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("epoch", "step")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    step: Step
    def __init__(self, epoch: _Optional[int] = ..., step: _Optional[_Union[Step, str]] = ...) -> None: ...

class Tombstone(_message.Message):
    __slots__ = ("transaction_id", "outcome", "without")
    TRANSACTION_ID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    transaction_id: str
    outcome: Outcome
    without: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, transaction_id: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., without: _Optional[_Iterable[str]] = ...) -> None: ...

class CertificateSet(_message.Message):
    __slots__ = ("state", "digest", "bundle_digest", "files", "certificates")
    STATE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    state: SetState
    digest: str
    bundle_digest: str
    files: _containers.RepeatedCompositeFieldContainer[SetFile]
    certificates: _containers.RepeatedCompositeFieldContainer[Certificate]
    def __init__(self, state: _Optional[_Union[SetState, str]] = ..., digest: _Optional[str] = ..., bundle_digest: _Optional[str] = ..., files: _Optional[_Iterable[_Union[SetFile, _Mapping]]] = ..., certificates: _Optional[_Iterable[_Union[Certificate, _Mapping]]] = ...) -> None: ...

class SetFile(_message.Message):
    __slots__ = ("name", "mode", "size")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    name: str
    mode: int
    size: int
    def __init__(self, name: _Optional[str] = ..., mode: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("file", "index", "kind", "subject", "issuer", "serial", "fingerprint", "not_before", "not_after")
    FILE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    file: str
    index: int
    kind: CertificateKind
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: _timestamp_pb2.Timestamp
    not_after: _timestamp_pb2.Timestamp
    def __init__(self, file: _Optional[str] = ..., index: _Optional[int] = ..., kind: _Optional[_Union[CertificateKind, str]] = ..., subject: _Optional[str] = ..., issuer: _Optional[str] = ..., serial: _Optional[str] = ..., fingerprint: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RetiredSet(_message.Message):
    __slots__ = ("generation", "digest", "server_fingerprint", "retired_at")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SERVER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    RETIRED_AT_FIELD_NUMBER: _ClassVar[int]
    generation: str
    digest: str
    server_fingerprint: str
    retired_at: _timestamp_pb2.Timestamp
    def __init__(self, generation: _Optional[str] = ..., digest: _Optional[str] = ..., server_fingerprint: _Optional[str] = ..., retired_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SslSwitch(_message.Message):
    __slots__ = ("server", "agent")
    SERVER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    server: SslValue
    agent: SslValue
    def __init__(self, server: _Optional[_Union[SslValue, str]] = ..., agent: _Optional[_Union[SslValue, str]] = ...) -> None: ...

class CmProcess(_message.Message):
    __slots__ = ("name", "pid", "started_at", "start_ticks", "boot")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    START_TICKS_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    name: str
    pid: int
    started_at: _timestamp_pb2.Timestamp
    start_ticks: int
    boot: str
    def __init__(self, name: _Optional[str] = ..., pid: _Optional[int] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_ticks: _Optional[int] = ..., boot: _Optional[str] = ...) -> None: ...

class CmTopology(_message.Message):
    __slots__ = ("local_node_id", "nodes")
    LOCAL_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    local_node_id: int
    nodes: _containers.RepeatedCompositeFieldContainer[CmNode]
    def __init__(self, local_node_id: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[CmNode, _Mapping]]] = ...) -> None: ...

class CmNode(_message.Message):
    __slots__ = ("id", "name", "server_address", "server_port", "agent_address")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVER_PORT_FIELD_NUMBER: _ClassVar[int]
    AGENT_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    server_address: str
    server_port: int
    agent_address: str
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., server_address: _Optional[str] = ..., server_port: _Optional[int] = ..., agent_address: _Optional[str] = ...) -> None: ...

class Served(_message.Message):
    __slots__ = ("cm_node_id", "target", "state", "fingerprint", "chain_verified", "not_after", "cause", "leaf")
    CM_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CHAIN_VERIFIED_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    LEAF_FIELD_NUMBER: _ClassVar[int]
    cm_node_id: int
    target: str
    state: ServedState
    fingerprint: str
    chain_verified: bool
    not_after: _timestamp_pb2.Timestamp
    cause: str
    leaf: bytes
    def __init__(self, cm_node_id: _Optional[int] = ..., target: _Optional[str] = ..., state: _Optional[_Union[ServedState, str]] = ..., fingerprint: _Optional[str] = ..., chain_verified: bool = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., cause: _Optional[str] = ..., leaf: _Optional[bytes] = ...) -> None: ...

class ClusterState(_message.Message):
    __slots__ = ("cluster_state", "server_roles", "cause")
    class ServerRolesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: str
        def __init__(self, key: _Optional[int] = ..., value: _Optional[str] = ...) -> None: ...
    CLUSTER_STATE_FIELD_NUMBER: _ClassVar[int]
    SERVER_ROLES_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    cluster_state: str
    server_roles: _containers.ScalarMap[int, str]
    cause: str
    def __init__(self, cluster_state: _Optional[str] = ..., server_roles: _Optional[_Mapping[int, str]] = ..., cause: _Optional[str] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("code", "severity", "node", "file", "cause", "remedy")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    code: str
    severity: Severity
    node: str
    file: str
    cause: str
    remedy: str
    def __init__(self, code: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., node: _Optional[str] = ..., file: _Optional[str] = ..., cause: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class Bundle(_message.Message):
    __slots__ = ("cacert_pem", "server_crt", "server_key", "client_crt", "client_key", "server_crl", "client_crl", "server_password", "client_password", "factor_files")
    CACERT_PEM_FIELD_NUMBER: _ClassVar[int]
    SERVER_CRT_FIELD_NUMBER: _ClassVar[int]
    SERVER_KEY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CRT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_FIELD_NUMBER: _ClassVar[int]
    SERVER_CRL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CRL_FIELD_NUMBER: _ClassVar[int]
    SERVER_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    CLIENT_PASSWORD_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FILES_FIELD_NUMBER: _ClassVar[int]
    cacert_pem: bytes
    server_crt: bytes
    server_key: bytes
    client_crt: bytes
    client_key: bytes
    server_crl: bytes
    client_crl: bytes
    server_password: str
    client_password: str
    factor_files: FactorFiles
    def __init__(self, cacert_pem: _Optional[bytes] = ..., server_crt: _Optional[bytes] = ..., server_key: _Optional[bytes] = ..., client_crt: _Optional[bytes] = ..., client_key: _Optional[bytes] = ..., server_crl: _Optional[bytes] = ..., client_crl: _Optional[bytes] = ..., server_password: _Optional[str] = ..., client_password: _Optional[str] = ..., factor_files: _Optional[_Union[FactorFiles, _Mapping]] = ...) -> None: ...

class FactorFiles(_message.Message):
    __slots__ = ("server_key_cipher", "server_key_rand", "client_key_cipher", "client_key_rand")
    SERVER_KEY_CIPHER_FIELD_NUMBER: _ClassVar[int]
    SERVER_KEY_RAND_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_CIPHER_FIELD_NUMBER: _ClassVar[int]
    CLIENT_KEY_RAND_FIELD_NUMBER: _ClassVar[int]
    server_key_cipher: bytes
    server_key_rand: bytes
    client_key_cipher: bytes
    client_key_rand: bytes
    def __init__(self, server_key_cipher: _Optional[bytes] = ..., server_key_rand: _Optional[bytes] = ..., client_key_cipher: _Optional[bytes] = ..., client_key_rand: _Optional[bytes] = ...) -> None: ...

class Overlap(_message.Message):
    __slots__ = ("unknown", "refusals", "same_ca")
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    REFUSALS_FIELD_NUMBER: _ClassVar[int]
    SAME_CA_FIELD_NUMBER: _ClassVar[int]
    unknown: str
    refusals: _containers.RepeatedCompositeFieldContainer[OverlapRefusal]
    same_ca: bool
    def __init__(self, unknown: _Optional[str] = ..., refusals: _Optional[_Iterable[_Union[OverlapRefusal, _Mapping]]] = ..., same_ca: bool = ...) -> None: ...

class OverlapRefusal(_message.Message):
    __slots__ = ("connecting", "refusing", "cause", "detail", "links", "versions")
    CONNECTING_FIELD_NUMBER: _ClassVar[int]
    REFUSING_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    connecting: Side
    refusing: Side
    cause: str
    detail: str
    links: _containers.RepeatedScalarFieldContainer[str]
    versions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, connecting: _Optional[_Union[Side, str]] = ..., refusing: _Optional[_Union[Side, str]] = ..., cause: _Optional[str] = ..., detail: _Optional[str] = ..., links: _Optional[_Iterable[str]] = ..., versions: _Optional[_Iterable[str]] = ...) -> None: ...
