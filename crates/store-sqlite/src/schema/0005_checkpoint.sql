-- How far the audit trail had grown at a moment, signed. The tree goes on from its subtrees, so that the
-- next checkpoint does not read the whole trail again.
CREATE TABLE audit_checkpoint (
    size     INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    note     TEXT    NOT NULL,
    subtrees BLOB    NOT NULL
) STRICT;

CREATE TRIGGER audit_checkpoint_is_never_changed BEFORE UPDATE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are never changed'); END;

CREATE TRIGGER audit_checkpoint_is_never_deleted BEFORE DELETE ON audit_checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are never deleted'); END;

-- The public keys that signed them, each with the record that certifies it.
CREATE TABLE audit_key (
    generation INTEGER PRIMARY KEY,
    public_key BLOB    NOT NULL,
    seq        INTEGER NOT NULL UNIQUE,
    at         INTEGER NOT NULL
) STRICT;
