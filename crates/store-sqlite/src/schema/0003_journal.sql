CREATE TABLE intent (
    number           INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT    NOT NULL UNIQUE,
    account          TEXT    NOT NULL REFERENCES account (id),
    user             TEXT    NOT NULL REFERENCES user (id),
    broker           TEXT    NOT NULL,
    caller           TEXT    NOT NULL,
    pair             TEXT    NOT NULL,
    side             TEXT    NOT NULL,
    request          TEXT    NOT NULL,
    sizing           TEXT,
    state            TEXT    NOT NULL,
    cause            TEXT    NOT NULL,
    client_order_id  TEXT    NOT NULL UNIQUE,
    venue_order_id   TEXT,
    reducing         INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    valid_until      INTEGER NOT NULL,
    dispatched_at    INTEGER,
    acceptance_bound INTEGER,
    attempts         INTEGER NOT NULL DEFAULT 0,
    attempt_token    BLOB,
    filled           TEXT    NOT NULL,
    venue_filled     TEXT    NOT NULL,
    closing          TEXT,
    trace            TEXT    NOT NULL,
    -- The bytes that determine the order at the venue, and their SHA-256.
    terms            BLOB,
    terms_hash       BLOB,
    -- What was known when it was decided on.
    snapshot         TEXT    NOT NULL,
    -- The trading day in which it was admitted.
    day              TEXT    NOT NULL,
    cycle            INTEGER
) STRICT;

CREATE INDEX intent_by_account ON intent (account, state);
CREATE INDEX intent_by_day ON intent (account, day);
CREATE UNIQUE INDEX intent_by_venue_order ON intent (account, venue_order_id) WHERE venue_order_id IS NOT NULL;
CREATE INDEX intent_by_time ON intent (account, created_at);
-- A switch must find the few that are not over among all there ever were.
CREATE INDEX intent_not_over ON intent (state)
    WHERE state IN ('approved', 'dispatching', 'unknown', 'open', 'incident');

CREATE TABLE idempotency (
    caller  TEXT NOT NULL,
    account TEXT NOT NULL,
    key     TEXT NOT NULL,
    intent  TEXT NOT NULL REFERENCES intent (id),
    PRIMARY KEY (caller, account, key)
) STRICT, WITHOUT ROWID;

-- What unresolved orders hold of each limit.
CREATE TABLE reservation (
    intent  TEXT NOT NULL REFERENCES intent (id),
    kind    TEXT NOT NULL,
    account TEXT NOT NULL,
    user    TEXT NOT NULL,
    pair    TEXT NOT NULL,
    -- What it took when it was admitted, and what is left of that.
    claimed TEXT NOT NULL,
    amount  TEXT NOT NULL,
    PRIMARY KEY (intent, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX reservation_by_user ON reservation (user, kind);

CREATE TABLE cancel (
    intent          TEXT PRIMARY KEY REFERENCES intent (id),
    account         TEXT    NOT NULL,
    client_order_id TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT    NOT NULL,
    requested_at    INTEGER NOT NULL,
    sent_at         INTEGER
) STRICT;

CREATE INDEX cancel_by_account ON cancel (account, state);

CREATE TABLE external_order (
    account        TEXT    NOT NULL REFERENCES account (id),
    venue_order_id TEXT    NOT NULL,
    body           TEXT    NOT NULL,
    is_working     INTEGER NOT NULL,
    first_seen     INTEGER NOT NULL,
    PRIMARY KEY (account, venue_order_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE latch (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    scope       TEXT    NOT NULL,
    mode        TEXT    NOT NULL,
    cause       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    tripped_by  TEXT    NOT NULL,
    tripped_at  INTEGER NOT NULL,
    -- The trading day with which it ends by itself; none for a latch that a person clears.
    clear_day   TEXT,
    cleared_by  TEXT,
    cleared_at  INTEGER,
    clear_note  TEXT
) STRICT;

CREATE INDEX latch_on ON latch (scope) WHERE cleared_at IS NULL;

CREATE TRIGGER latch_is_fixed BEFORE UPDATE OF id, scope, mode, cause, reason, tripped_by, tripped_at, clear_day ON latch
BEGIN SELECT RAISE(ABORT, 'a latch is only ever cleared'); END;

CREATE TRIGGER latch_is_cleared_once BEFORE UPDATE OF cleared_at ON latch WHEN OLD.cleared_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a latch is cleared once'); END;

CREATE TRIGGER latch_is_never_deleted BEFORE DELETE ON latch
BEGIN SELECT RAISE(ABORT, 'a latch is never deleted'); END;

CREATE TABLE error (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT    NOT NULL REFERENCES account (id),
    class   TEXT    NOT NULL,
    code    TEXT    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

CREATE INDEX error_by_class ON error (account, class, at);

CREATE TABLE error_total (
    account TEXT    NOT NULL REFERENCES account (id),
    class   TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    -- Errors up to this number were reset by a person and count in no window.
    reset   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account, class)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    account TEXT PRIMARY KEY REFERENCES account (id),
    at      INTEGER NOT NULL
) STRICT;

-- Executions of our orders, booked. (account, id) once and for ever.
CREATE TABLE fill (
    account          TEXT    NOT NULL REFERENCES account (id),
    id               TEXT    NOT NULL,
    intent           TEXT    NOT NULL REFERENCES intent (id),
    user             TEXT    NOT NULL,
    pair             TEXT    NOT NULL,
    day              TEXT    NOT NULL,
    at               INTEGER NOT NULL,
    booked_at        INTEGER NOT NULL,
    -- The execution as the venue reported it.
    body             TEXT    NOT NULL,
    usd_rate         TEXT    NOT NULL,
    fee_usd          TEXT    NOT NULL,
    fee_is_estimated INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX fill_by_pair ON fill (account, pair, at);
CREATE INDEX fill_by_intent ON fill (intent);
CREATE INDEX fill_by_day ON fill (user, day);

-- Executions of orders that are not ours, or not yet known to be.
CREATE TABLE stray_fill (
    account        TEXT    NOT NULL REFERENCES account (id),
    id             TEXT    NOT NULL,
    venue_order_id TEXT    NOT NULL,
    body           TEXT    NOT NULL,
    seen_at        INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX stray_fill_by_order ON stray_fill (account, venue_order_id);

CREATE TABLE lot (
    account    TEXT    NOT NULL REFERENCES account (id),
    id         TEXT    NOT NULL,
    user       TEXT    NOT NULL,
    pair       TEXT    NOT NULL,
    opened_at  INTEGER NOT NULL,
    quantity   TEXT    NOT NULL,
    cost_usd   TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX lot_by_pair ON lot (account, pair);
CREATE INDEX lot_by_user ON lot (user);

CREATE TABLE closed_lot (
    account    TEXT    NOT NULL REFERENCES account (id),
    lot        TEXT    NOT NULL,
    closed_by  TEXT    NOT NULL,
    user       TEXT    NOT NULL,
    pair       TEXT    NOT NULL,
    closed_day TEXT    NOT NULL,
    closed_at  INTEGER NOT NULL,
    body       TEXT    NOT NULL,
    PRIMARY KEY (account, lot, closed_by)
) STRICT, WITHOUT ROWID;

CREATE INDEX closed_lot_by_day ON closed_lot (user, closed_day);
CREATE INDEX closed_lot_by_pair ON closed_lot (account, pair);

-- Double entry of every booked execution: per fill and asset the amounts sum to zero.
CREATE TABLE entry (
    account TEXT    NOT NULL,
    fill    TEXT    NOT NULL,
    line    INTEGER NOT NULL,
    leg     TEXT    NOT NULL,
    asset   TEXT    NOT NULL,
    amount  TEXT    NOT NULL,
    PRIMARY KEY (account, fill, line),
    FOREIGN KEY (account, fill) REFERENCES fill (account, id)
) STRICT, WITHOUT ROWID;

-- What left or will leave to the outside, in the order in which it was committed.
CREATE TABLE outbox (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    account TEXT,
    user    TEXT,
    intent  TEXT,
    latch   TEXT,
    body    TEXT    NOT NULL
) STRICT;
