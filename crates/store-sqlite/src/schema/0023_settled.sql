-- What a wide spread at a day's boundary leaves open, until a later price settles it. What a day began with before this
-- step counts as settled.
CREATE TABLE settled_opening_mark (
    day           TEXT    NOT NULL,
    broker        TEXT    NOT NULL,
    pair          TEXT    NOT NULL,
    price         TEXT    NOT NULL,
    most_price    TEXT    NOT NULL,
    usd_rate      TEXT    NOT NULL,
    most_usd_rate TEXT    NOT NULL,
    is_fresh      INTEGER NOT NULL,
    PRIMARY KEY (day, broker, pair)
) STRICT, WITHOUT ROWID;

INSERT INTO settled_opening_mark (day, broker, pair, price, most_price, usd_rate, most_usd_rate, is_fresh)
SELECT day, broker, pair, price, price, usd_rate, usd_rate, is_fresh FROM opening_mark;

DROP TABLE opening_mark;
ALTER TABLE settled_opening_mark RENAME TO opening_mark;

-- Who closed something today: also who only wrote a holding off, which is no execution.
CREATE INDEX closed_lot_by_user_of_day ON closed_lot (closed_day, user);
