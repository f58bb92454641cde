-- How far an account is under a switch, as its desk saw it last. What proves a halt is in the audit
-- trail too.
CREATE TABLE halt (
    latch       TEXT    NOT NULL REFERENCES latch (id),
    account     TEXT    NOT NULL REFERENCES account (id),
    looked_at   INTEGER NOT NULL,
    -- Why the last look failed; empty when it was complete.
    cause       TEXT    NOT NULL,
    verified_at INTEGER,
    PRIMARY KEY (latch, account)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER halt_is_verified_once BEFORE UPDATE OF verified_at ON halt WHEN OLD.verified_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a halt is verified once'); END;
