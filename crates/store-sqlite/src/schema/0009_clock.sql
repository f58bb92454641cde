-- The last moment on which this machine's clock and an account's exchange agreed.
CREATE TABLE confirmed_clock (
    account TEXT PRIMARY KEY REFERENCES account (id),
    at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
