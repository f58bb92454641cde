-- Keys that are in no keyring any more: nothing is wrapped with them again.
CREATE TABLE retired_key (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
