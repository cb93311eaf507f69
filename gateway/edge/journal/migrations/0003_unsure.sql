-- Messages that a backup had as open when it was restored, and what they set off since: whether the SMP has those of their
-- rows that no submission carries is not known.
CREATE TABLE unsure (
    message_id TEXT NOT NULL PRIMARY KEY REFERENCES message (id)
) STRICT, WITHOUT ROWID;
