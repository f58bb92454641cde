-- Limits of more than one pair, errors in a row, brokers that are paused, and how a day's loss went.

-- What was admitted among all that was asked for: limits of a minute and of a day look at nothing else.
CREATE INDEX intent_admitted ON intent (account, created_at) WHERE state <> 'denied';
CREATE INDEX intent_entry ON intent (account, day) WHERE reducing = 0 AND state <> 'denied';
CREATE INDEX reservation_by_kind ON reservation (kind, account);

-- What an order placed by hand may still cost at worst; none where it cannot be told.
ALTER TABLE external_order ADD COLUMN cost_usd TEXT;

-- How a latch ends: none for what `clear_day` says, `person` for one that waits for a person after that
-- day, `probes` for one that ends when its broker answers again.
ALTER TABLE latch ADD COLUMN clear_how TEXT;

CREATE TRIGGER latch_end_is_fixed BEFORE UPDATE OF clear_how ON latch
BEGIN SELECT RAISE(ABORT, 'a latch is only ever cleared'); END;

-- Errors of one kind of request without a clear answer between them.
CREATE TABLE error_row (
    account TEXT    NOT NULL REFERENCES account (id),
    class   TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    count   INTEGER NOT NULL,
    PRIMARY KEY (account, class, kind)
) STRICT, WITHOUT ROWID;

-- Requests of all accounts to a broker, by the second in which they were noted.
CREATE TABLE breaker_count (
    broker   TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    faults   INTEGER NOT NULL,
    PRIMARY KEY (broker, at)
) STRICT, WITHOUT ROWID;

-- Brokers that are paused, and how their probes went.
CREATE TABLE breaker (
    broker      TEXT PRIMARY KEY,
    latch       TEXT    NOT NULL REFERENCES latch (id),
    good_probes INTEGER NOT NULL,
    next_probe  INTEGER NOT NULL
) STRICT;

-- How near a day's loss came to its limit, by whom it is counted for.
CREATE TABLE loss_watch (
    scope         TEXT NOT NULL,
    day           TEXT NOT NULL,
    warned_at     INTEGER,
    tripped_at    INTEGER,
    loss_at_trip  TEXT,
    limit_at_trip TEXT,
    worst_loss    TEXT,
    PRIMARY KEY (scope, day)
) STRICT, WITHOUT ROWID;
