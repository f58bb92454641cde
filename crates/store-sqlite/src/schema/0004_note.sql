-- Small documents of one account that their writer alone understands: what its cycles remember, the
-- state of a paper exchange. No money is decided on by them, so they leave no audit record.
CREATE TABLE note (
    account    TEXT NOT NULL REFERENCES account (id),
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;
