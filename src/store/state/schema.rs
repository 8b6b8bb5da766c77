//! The tables of `state.db`.
//!
//! Holds true: names that Consul compares without case are kept lower-cased in the key columns and as
//! given inside `data`, which is the object in msgpack with its indexes; unsigned numbers are stored
//! bit by bit in SQLite's signed ones. `idx` is Consul's index table; `opaque` keeps records of
//! snapshots whose kind this version does not serve. Tokens are found by the SHA-256 of their secret, so that
//! how long a search takes says nothing about secrets.
//! Source: `docs/reference/raft.md` sections 7 and 8.

/// Tells `state.db` apart from other SQLite files: "CLST".
pub const APPLICATION_ID: i32 = 0x434c_5354;
/// Counts up with every change of [`TABLES`].
pub const USER_VERSION: i32 = 2;

/// Everything that a restore replaces.
pub const REPLICATED: &[&str] = &[
    "idx",
    "kvs",
    "tombstones",
    "nodes",
    "services",
    "checks",
    "sessions",
    "session_checks",
    "coordinates",
    "autopilot",
    "acl_tokens",
    "acl_objects",
    "opaque",
];

/// Creates the tables of a new file.
pub const TABLES: &str = "
CREATE TABLE meta (
    id                  INTEGER PRIMARY KEY CHECK (id = 1),
    applied_index       INTEGER NOT NULL,
    applied_term        INTEGER NOT NULL,
    restored_index      INTEGER NOT NULL,
    restored_term       INTEGER NOT NULL,
    configuration       BLOB NOT NULL,
    configuration_index INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (1, 0, 0, 0, 0, x'', 0);
CREATE TABLE idx (
    key   TEXT PRIMARY KEY,
    name  TEXT NOT NULL,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE kvs (
    key          BLOB PRIMARY KEY,
    modify_index INTEGER NOT NULL,
    create_index INTEGER NOT NULL,
    flags        INTEGER NOT NULL,
    lock_index   INTEGER NOT NULL,
    session      TEXT,
    value        BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX kvs_session ON kvs (session) WHERE session IS NOT NULL;
CREATE TABLE tombstones (
    key   BLOB PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    id   TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX nodes_id ON nodes (id) WHERE id <> '';
CREATE TABLE services (
    node    TEXT NOT NULL,
    id      TEXT NOT NULL,
    name    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    connect TEXT NOT NULL,
    data    BLOB NOT NULL,
    PRIMARY KEY (node, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX services_name ON services (name, node, id);
CREATE INDEX services_connect ON services (connect, node, id) WHERE connect <> '';
CREATE TABLE checks (
    node       TEXT NOT NULL,
    id         TEXT NOT NULL,
    service_id TEXT NOT NULL,
    service    TEXT NOT NULL,
    status     TEXT NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (node, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX checks_service ON checks (service, node, id);
CREATE INDEX checks_status ON checks (status, node, id);
CREATE TABLE sessions (
    id   TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    data BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_node ON sessions (node, id);
CREATE TABLE session_checks (
    node    TEXT NOT NULL,
    id      TEXT NOT NULL,
    session TEXT NOT NULL,
    PRIMARY KEY (node, id, session)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_checks_session ON session_checks (session);
CREATE TABLE coordinates (
    node    TEXT NOT NULL,
    segment TEXT NOT NULL,
    data    BLOB NOT NULL,
    PRIMARY KEY (node, segment)
) STRICT, WITHOUT ROWID;
CREATE TABLE autopilot (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    data BLOB NOT NULL
) STRICT;
CREATE TABLE acl_tokens (
    secret      BLOB PRIMARY KEY,
    accessor    TEXT NOT NULL,
    local       INTEGER NOT NULL,
    auth_method TEXT NOT NULL,
    expires     INTEGER NOT NULL,
    data        BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX acl_tokens_accessor ON acl_tokens (accessor) WHERE accessor <> '';
CREATE INDEX acl_tokens_upgrade ON acl_tokens (secret) WHERE accessor = '';
CREATE INDEX acl_tokens_expires ON acl_tokens (expires) WHERE expires <> 0;
CREATE INDEX acl_tokens_method ON acl_tokens (auth_method) WHERE auth_method <> '';
CREATE TABLE acl_objects (
    kind INTEGER NOT NULL,
    id   TEXT NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX acl_objects_name ON acl_objects (kind, name);
CREATE TABLE opaque (
    seq  INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
";
