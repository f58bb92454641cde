-- What an order is admitted by is counted from these alone: the rows themselves are long, and a busy day has
-- thousands of them.
DROP INDEX intent_admitted;
CREATE INDEX intent_admitted ON intent (account, created_at, state, id) WHERE state <> 'denied';
DROP INDEX intent_entry;
CREATE INDEX intent_entry ON intent (account, day, reducing, state, filled, id)
    WHERE reducing = 0 AND state <> 'denied'
      AND (state IN ('approved', 'dispatching', 'unknown', 'open', 'incident') OR filled <> '0');
