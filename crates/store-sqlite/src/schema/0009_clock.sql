-- The last moment on which this machine's clock and an exchange's agreed.
CREATE TABLE confirmed_clock (
    broker TEXT PRIMARY KEY,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
