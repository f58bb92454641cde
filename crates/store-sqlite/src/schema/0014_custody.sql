-- Keys that another took the place of, kept sealed for a while so that the change can be taken back.
CREATE TABLE superseded_key (
    credential TEXT    PRIMARY KEY REFERENCES credential (id) ON DELETE CASCADE,
    kept_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The key store is sealed while there is a row: nobody unlocks it, and the daemon drops its keys.
CREATE TABLE sealing (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    -- When the daemon had dropped its keys.
    obeyed_at INTEGER
) STRICT;

-- Who asked to be forgotten. The row stays, because books name it; name and address are gone.
ALTER TABLE user ADD COLUMN deleted_at INTEGER;
