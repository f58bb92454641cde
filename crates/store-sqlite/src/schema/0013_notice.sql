-- The last event of the outbox that was taken for notices. No row: nobody is told anything.
CREATE TABLE notice_position (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    event INTEGER NOT NULL
) STRICT;

-- What each receiver was told, and what waits to be told.
CREATE TABLE notice_inbox (
    receiver TEXT PRIMARY KEY,
    memory   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Messages, each on one channel.
CREATE TABLE notice_delivery (
    id       TEXT    PRIMARY KEY,
    channel  TEXT    NOT NULL,
    message  TEXT    NOT NULL,
    made_at  INTEGER NOT NULL,
    -- How many attempts began.
    attempts INTEGER NOT NULL,
    next_at  INTEGER NOT NULL,
    state    TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'given-up'))
) STRICT, WITHOUT ROWID;

CREATE INDEX notice_delivery_due ON notice_delivery (channel, next_at) WHERE state = 'waiting';
CREATE INDEX notice_delivery_over ON notice_delivery (made_at) WHERE state <> 'waiting';

-- Every attempt. One without an end goes on, or the process ended in it.
CREATE TABLE notice_attempt (
    delivery TEXT    NOT NULL REFERENCES notice_delivery (id),
    number   INTEGER NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    ended    TEXT CHECK (ended IN ('delivered', 'failed', 'given-up')),
    why      TEXT,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
