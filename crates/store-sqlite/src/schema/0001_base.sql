-- One row: what the store is.
CREATE TABLE store (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    store_id   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    epoch      INTEGER NOT NULL DEFAULT 0,
    -- Counted up by every transaction that recorded something: what other processes watch.
    changes    INTEGER NOT NULL DEFAULT 1
) STRICT;

CREATE TABLE audit_record (
    seq  INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TRIGGER audit_record_is_never_changed BEFORE UPDATE ON audit_record
BEGIN SELECT RAISE(ABORT, 'audit records are never changed'); END;

CREATE TRIGGER audit_record_is_never_deleted BEFORE DELETE ON audit_record
BEGIN SELECT RAISE(ABORT, 'audit records are never deleted'); END;

CREATE TABLE audit_head (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    seq  INTEGER NOT NULL,
    hash BLOB    NOT NULL
) STRICT;

CREATE TABLE user (
    id              TEXT PRIMARY KEY,
    email           TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    name            TEXT,
    tier            TEXT    NOT NULL,
    account_type    TEXT    NOT NULL,
    enabled         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    default_account TEXT REFERENCES account (id)
) STRICT;

CREATE TABLE account (
    id               TEXT PRIMARY KEY,
    owner            TEXT    NOT NULL REFERENCES user (id),
    broker           TEXT    NOT NULL,
    role             TEXT    NOT NULL,
    mode             TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    nickname         TEXT,
    venue_account_id TEXT,
    created_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX account_by_owner ON account (owner);

CREATE TRIGGER account_is_fixed BEFORE UPDATE OF id, owner, broker, role, mode ON account
BEGIN SELECT RAISE(ABORT, 'owner, broker, role and mode of an account are fixed'); END;

CREATE TABLE keystore_header (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL
) STRICT;

CREATE TABLE credential (
    id              TEXT PRIMARY KEY,
    account         TEXT    NOT NULL,
    broker          TEXT    NOT NULL,
    mode            TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    public_key_hint TEXT    NOT NULL,
    key_rights      TEXT    NOT NULL,
    fields          INTEGER NOT NULL,
    kek             TEXT    NOT NULL,
    data_key        BLOB    NOT NULL,
    ciphertext      BLOB    NOT NULL
) STRICT;

CREATE INDEX credential_by_account ON credential (account);
