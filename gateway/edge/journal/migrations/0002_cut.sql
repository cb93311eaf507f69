-- Where a chain of evidence begins since its older entries were removed: after this entry, as its participant's key signed.
CREATE TABLE cut (
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    link TEXT NOT NULL,
    at INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (environment, participant)
) STRICT, WITHOUT ROWID;
-- A callback that is removed takes its relays along.
CREATE INDEX callback_relay_callback ON callback_relay (environment, issuer, jti);
