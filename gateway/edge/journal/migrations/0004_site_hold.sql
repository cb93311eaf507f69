-- Sites that people let nothing be written to, until they release them.
CREATE TABLE site_hold (
    site TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
