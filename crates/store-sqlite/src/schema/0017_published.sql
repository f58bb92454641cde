-- When a backup got its name. One that never did was cut off after it was recorded, and is not there; those of older
-- formats count as published.
ALTER TABLE backup ADD COLUMN published_at INTEGER;
UPDATE backup SET published_at = at;
