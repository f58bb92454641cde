-- Keys that were erased, for copies of the store that do not know it.
CREATE TABLE tombstone (
    credential TEXT PRIMARY KEY,
    account    TEXT NOT NULL,
    at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Backups that were made of this store.
CREATE TABLE backup (
    id  TEXT PRIMARY KEY,
    at  INTEGER NOT NULL,
    -- The last record of the trail that it has.
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
