CREATE TABLE policy (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    body       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE permission (
    user       TEXT PRIMARY KEY REFERENCES user (id),
    body       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE preference (
    user       TEXT PRIMARY KEY REFERENCES user (id),
    body       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- What an exchange said of a key after it was stored.
CREATE TABLE key_check (
    credential TEXT PRIMARY KEY REFERENCES credential (id) ON DELETE CASCADE,
    version    INTEGER NOT NULL,
    checked_at INTEGER NOT NULL,
    refusal    TEXT
) STRICT;

CREATE TABLE nonce_floor (
    credential TEXT PRIMARY KEY,
    floor      INTEGER NOT NULL
) STRICT;

CREATE TABLE connection (
    account TEXT PRIMARY KEY REFERENCES account (id),
    state   TEXT    NOT NULL,
    cause   TEXT    NOT NULL,
    since   INTEGER NOT NULL
) STRICT;

CREATE TABLE balance (
    account TEXT PRIMARY KEY REFERENCES account (id),
    body    TEXT    NOT NULL,
    equity  TEXT,
    at      INTEGER NOT NULL
) STRICT;

CREATE TABLE instrument (
    broker TEXT    NOT NULL,
    pair   TEXT    NOT NULL,
    body   TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (broker, pair)
) STRICT, WITHOUT ROWID;

CREATE TABLE quote (
    broker TEXT    NOT NULL,
    pair   TEXT    NOT NULL,
    bid    TEXT    NOT NULL,
    ask    TEXT    NOT NULL,
    last   TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (broker, pair)
) STRICT, WITHOUT ROWID;

-- The local time at which trading days change.
CREATE TABLE day_boundary (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    zone TEXT NOT NULL,
    at   TEXT NOT NULL
) STRICT;

-- Days that were opened, and days planned ahead so that no update of a zone's rules moves them.
CREATE TABLE trading_day (
    key    TEXT PRIMARY KEY,
    starts INTEGER NOT NULL,
    ends   INTEGER NOT NULL,
    opened INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE opening_mark (
    day      TEXT    NOT NULL,
    broker   TEXT    NOT NULL,
    pair     TEXT    NOT NULL,
    price    TEXT    NOT NULL,
    usd_rate TEXT    NOT NULL,
    is_fresh INTEGER NOT NULL,
    PRIMARY KEY (day, broker, pair)
) STRICT, WITHOUT ROWID;

CREATE TABLE loss_allowance (
    user  TEXT NOT NULL REFERENCES user (id),
    day   TEXT NOT NULL,
    extra TEXT NOT NULL,
    PRIMARY KEY (user, day)
) STRICT, WITHOUT ROWID;
