-- What takes two people. Only the verdict is ever added.
CREATE TABLE approval (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    body        TEXT    NOT NULL,
    -- SHA-256 of the body.
    hash        BLOB    NOT NULL,
    proposed_by TEXT    NOT NULL,
    proposed_at INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    evidence    TEXT    NOT NULL,
    expires_at  INTEGER NOT NULL,
    -- The order it is about, if it is about one.
    intent      TEXT REFERENCES intent (id),
    decided_by  TEXT,
    decided_at  INTEGER,
    approved    INTEGER,
    note        TEXT
) STRICT;

CREATE INDEX approval_open ON approval (expires_at) WHERE decided_at IS NULL;
CREATE INDEX approval_by_intent ON approval (intent) WHERE intent IS NOT NULL;

CREATE TRIGGER approval_is_fixed
    BEFORE UPDATE OF id, body, hash, proposed_by, proposed_at, reason, evidence, expires_at, intent ON approval
BEGIN SELECT RAISE(ABORT, 'a proposal is only ever decided on'); END;

CREATE TRIGGER approval_is_decided_once BEFORE UPDATE OF decided_at ON approval WHEN OLD.decided_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a proposal is decided on once'); END;

CREATE TRIGGER approval_is_never_deleted BEFORE DELETE ON approval
BEGIN SELECT RAISE(ABORT, 'a proposal is never deleted'); END;

-- Whether one person may do what takes two.
CREATE TABLE people (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    alone INTEGER NOT NULL
) STRICT;

-- The last complete comparison of an account with its venue.
CREATE TABLE reconciliation (
    account     TEXT PRIMARY KEY REFERENCES account (id),
    at          INTEGER NOT NULL,
    differences TEXT    NOT NULL,
    -- When the audit trail last said so.
    recorded_at INTEGER NOT NULL
) STRICT;

-- The audit records of each order and of each switch.
CREATE TABLE trail (
    subject TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (subject, seq)
) STRICT, WITHOUT ROWID;

-- How far the self-check got. Orders and switches from before the trail was kept by subject are not
-- held to it.
CREATE TABLE self_check (
    id           INTEGER PRIMARY KEY CHECK (id = 1),
    first_intent INTEGER NOT NULL,
    first_latch  INTEGER NOT NULL,
    -- The order behind which the rolling pass goes on.
    rolled_to    INTEGER NOT NULL DEFAULT 0,
    checked_at   INTEGER
) STRICT;

INSERT INTO self_check (id, first_intent, first_latch)
SELECT 1, (SELECT coalesce(max(number), 0) + 1 FROM intent), (SELECT coalesce(max(number), 0) + 1 FROM latch);

-- Promises that were found broken: each trips a switch once.
CREATE TABLE violation (
    invariant TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    facts     TEXT    NOT NULL,
    found_at  INTEGER NOT NULL,
    PRIMARY KEY (invariant, subject)
) STRICT, WITHOUT ROWID;

-- What changed since the last look.
CREATE INDEX intent_by_change ON intent (updated_at);

-- Executions of our orders that cannot be booked yet, because nothing prices their quote asset.
CREATE TABLE unpriced_fill (
    account  TEXT    NOT NULL REFERENCES account (id),
    id       TEXT    NOT NULL,
    intent   TEXT    NOT NULL REFERENCES intent (id),
    body     TEXT    NOT NULL,
    seen_at  INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;
