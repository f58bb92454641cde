-- When a wrapping key was made. Whatever was erased since may have been wrapped with it, also while the keys before it
-- were still there: its retirement says nothing of those. Keys of older formats are as old as the last retirement.
CREATE TABLE made_key (
    id TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
