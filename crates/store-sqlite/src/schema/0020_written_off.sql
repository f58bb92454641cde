-- What two people took out of the ledger without an execution: it was sold or withdrawn by hand, or cannot be sold.
-- Booked like a sale that brought nothing into the account; without an order, and without a double entry.
CREATE TABLE written_off (
    account   TEXT    NOT NULL REFERENCES account (id),
    id        TEXT    NOT NULL,
    approval  TEXT    NOT NULL REFERENCES approval (id),
    user      TEXT    NOT NULL,
    pair      TEXT    NOT NULL,
    day       TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    -- As an execution that no exchange reported.
    body      TEXT    NOT NULL,
    usd_rate  TEXT    NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX written_off_by_pair ON written_off (account, pair, at);
