-- What is urgent goes out before what waits, however much that is. What waited before this step keeps its turn.
ALTER TABLE notice_delivery ADD COLUMN urgent INTEGER NOT NULL DEFAULT 0 CHECK (urgent IN (0, 1));

DROP INDEX notice_delivery_due;
CREATE INDEX notice_delivery_due ON notice_delivery (channel, urgent DESC, next_at) WHERE state = 'waiting';

-- Of which orders it was said that only people can tell.
CREATE INDEX outbox_search_ended ON outbox (intent) WHERE kind = 'search.ended';
