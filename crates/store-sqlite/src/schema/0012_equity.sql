-- What accounts were worth, and what came to them and left them from outside.

-- What an account's executions brought of each asset, less what they took, since this is counted: only
-- how it changes beside the balances matters.
CREATE TABLE traded (
    account TEXT NOT NULL REFERENCES account (id),
    asset   TEXT NOT NULL,
    amount  TEXT NOT NULL,
    PRIMARY KEY (account, asset)
) STRICT, WITHOUT ROWID;

-- What of each asset executions do not explain: as it settled last, and what it may be by now.
CREATE TABLE outside (
    account    TEXT NOT NULL REFERENCES account (id),
    asset      TEXT NOT NULL,
    settled    TEXT,
    seen       TEXT,
    seen_since INTEGER,
    PRIMARY KEY (account, asset)
) STRICT, WITHOUT ROWID;

-- What an account was worth: its first reading, the last of each trading day, and each with a flow.
CREATE TABLE equity (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    account   TEXT    NOT NULL REFERENCES account (id),
    day       TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    equity    TEXT    NOT NULL,
    flows     TEXT    NOT NULL,
    prices_at INTEGER,
    unpriced  TEXT    NOT NULL,
    -- Whether a later reading of the day leaves it as it is.
    is_kept   INTEGER NOT NULL
) STRICT;

CREATE INDEX equity_by_day ON equity (account, day);

CREATE TABLE flow (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    account  TEXT    NOT NULL REFERENCES account (id),
    day      TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    asset    TEXT    NOT NULL,
    quantity TEXT    NOT NULL,
    usd      TEXT
) STRICT;

CREATE INDEX flow_by_day ON flow (account, day);
