"""The tables of the history, how they came to be, and every statement that writes to them. Pure: text.

    run            what one coordinator did with a transaction; a recovery is a further run of the same id
    node           what each node held before, and what was staged
    certificate    the certificates and CRLs of the bundle as they were staged; no key, no password
    step           stages, commands and their answers, repetitions, notes, in the order they began
    evidence       which cm_server was seen to serve what, from which node
    finding        warnings
    failure        why it did not go forward
    rollout        what became of the agent of each node in a roll-out, which is a run of its own
    audit_head     the last line of each node's audit log that was about this run
    chain          every statement that was written, with what it wrote, each with the hash of the one before

A migration is never changed once it was released; a new one is appended.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x67636872
"""Tells our files from other people's ("gchr"; the header field that file(1) reads)."""

_V1: Final = (
    """CREATE TABLE run (
        run INTEGER PRIMARY KEY,
        transaction_id TEXT NOT NULL,
        cluster TEXT NOT NULL,
        kind TEXT NOT NULL,
        holder TEXT NOT NULL,
        version TEXT NOT NULL,
        participants INTEGER NOT NULL,
        restart TEXT NOT NULL,
        ssl_wish TEXT,
        drop_crls INTEGER,
        take_over INTEGER NOT NULL,
        bundle_digest TEXT,
        new_server TEXT,
        begun_at TEXT NOT NULL,
        epoch INTEGER,
        ended_at TEXT,
        duration_s REAL,
        verdict TEXT,
        why TEXT,
        interrupted INTEGER,
        last_stage TEXT,
        cluster_state TEXT
    )""",
    "CREATE INDEX run_of_transaction ON run (transaction_id, run)",
    "CREATE INDEX run_in_time ON run (cluster, begun_at)",
    """CREATE TABLE node (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        node TEXT NOT NULL,
        old_digest TEXT NOT NULL,
        old_server TEXT NOT NULL,
        new_digest TEXT NOT NULL,
        new_server TEXT NOT NULL,
        PRIMARY KEY (run, node)
    )""",
    """CREATE TABLE certificate (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        number INTEGER NOT NULL,
        file TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        issuer TEXT NOT NULL,
        serial TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        not_before TEXT NOT NULL,
        not_after TEXT NOT NULL,
        PRIMARY KEY (run, number)
    )""",
    """CREATE TABLE step (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        number INTEGER NOT NULL,
        stage TEXT NOT NULL,
        node TEXT NOT NULL,
        mark TEXT NOT NULL,
        at_s REAL NOT NULL,
        ended_s REAL,
        retries INTEGER NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (run, number)
    )""",
    """CREATE TABLE evidence (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        stage TEXT NOT NULL,
        number INTEGER NOT NULL,
        seen_from TEXT NOT NULL,
        cm_node_id INTEGER NOT NULL,
        target TEXT NOT NULL,
        state TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        chain_verified INTEGER NOT NULL,
        not_after TEXT,
        cause TEXT NOT NULL,
        PRIMARY KEY (run, stage, number)
    )""",
    """CREATE TABLE finding (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        number INTEGER NOT NULL,
        code TEXT NOT NULL,
        severity TEXT NOT NULL,
        node TEXT NOT NULL,
        file TEXT NOT NULL,
        cause TEXT NOT NULL,
        remedy TEXT NOT NULL,
        PRIMARY KEY (run, number)
    )""",
    """CREATE TABLE failure (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        number INTEGER NOT NULL,
        reason TEXT NOT NULL,
        node TEXT NOT NULL,
        file TEXT NOT NULL,
        message TEXT NOT NULL,
        remedy TEXT NOT NULL,
        PRIMARY KEY (run, number)
    )""",
)

_V2: Final = ("ALTER TABLE run ADD COLUMN generation TEXT",)
"""What a rollback went back to."""

_V3: Final = (
    "ALTER TABLE run ADD COLUMN accept_state INTEGER",
    "ALTER TABLE run ADD COLUMN excluded TEXT",
    "ALTER TABLE run ADD COLUMN state_before TEXT",
    "ALTER TABLE run ADD COLUMN roles_before TEXT",
    "ALTER TABLE run ADD COLUMN roles TEXT",
)
"""What the operator accepted and left out (node names, with commas), and how the cluster was before CM was
stopped; roles as "1 Primary, 2 Standby"."""

_V4: Final = (
    """CREATE TABLE audit_head (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        node TEXT NOT NULL,
        number INTEGER NOT NULL,
        hash TEXT NOT NULL,
        PRIMARY KEY (run, node)
    )""",
    """CREATE TABLE chain (
        number INTEGER PRIMARY KEY,
        run INTEGER NOT NULL,
        statement TEXT NOT NULL,
        cells TEXT NOT NULL,
        hash TEXT NOT NULL
    )""",
)
"""`history_chain`; what was there before is not in the chain."""

_V5: Final = (
    """CREATE TABLE rollout (
        run INTEGER NOT NULL REFERENCES run ON DELETE CASCADE,
        node TEXT NOT NULL,
        former TEXT NOT NULL,
        release TEXT NOT NULL,
        state TEXT NOT NULL,
        done TEXT NOT NULL,
        failed_at TEXT NOT NULL,
        PRIMARY KEY (run, node)
    )""",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_V1, _V2, _V3, _V4, _V5)
"""The statements that lead from schema version N (`PRAGMA user_version`) to N + 1, at index N."""

VERSION: Final = len(MIGRATIONS)

# Every statement takes the run as its first parameter. OR REPLACE, not ON CONFLICT DO UPDATE: SQLite knows
# the latter only since 3.24, and what we are given is the operating system's.
BEGIN_RUN: Final = (
    "INSERT INTO run (run, transaction_id, cluster, kind, holder, version, participants, restart, ssl_wish,"
    " drop_crls, take_over, bundle_digest, new_server, begun_at, generation, accept_state, excluded)"
    " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
)
SET_EPOCH: Final = "UPDATE run SET epoch = ?2 WHERE run = ?1"
SET_BEFORE: Final = "UPDATE run SET state_before = ?2, roles_before = ?3 WHERE run = ?1"
END_RUN: Final = (
    "UPDATE run SET ended_at = ?2, duration_s = ?3, verdict = ?4, why = ?5, interrupted = ?6,"
    " last_stage = ?7, cluster_state = ?8, roles = ?9 WHERE run = ?1"
)
PUT_NODE: Final = "INSERT OR REPLACE INTO node VALUES (?,?,?,?,?,?)"
SET_STAGED: Final = "UPDATE node SET new_digest = ?3, new_server = ?4 WHERE run = ?1 AND node = ?2"
PUT_CERTIFICATE: Final = "INSERT OR REPLACE INTO certificate VALUES (?,?,?,?,?,?,?,?,?,?)"
PUT_STEP: Final = "INSERT OR REPLACE INTO step VALUES (?,?,?,?,?,?,?,?,?,?)"
PUT_EVIDENCE: Final = "INSERT OR REPLACE INTO evidence VALUES (?,?,?,?,?,?,?,?,?,?,?)"
PUT_FINDING: Final = "INSERT OR REPLACE INTO finding VALUES (?,?,?,?,?,?,?,?)"
PUT_FAILURE: Final = "INSERT OR REPLACE INTO failure VALUES (?,?,?,?,?,?,?)"
PUT_ROLLOUT: Final = "INSERT OR REPLACE INTO rollout VALUES (?,?,?,?,?,?,?)"
PUT_HEAD: Final = "INSERT OR REPLACE INTO audit_head VALUES (?,?,?,?)"

# The chain's own. These take no run.
PUT_LINE: Final = "INSERT INTO chain VALUES (?,?,?,?,?)"
LAST_LINE: Final = "SELECT number, hash FROM chain ORDER BY number DESC LIMIT 1"
