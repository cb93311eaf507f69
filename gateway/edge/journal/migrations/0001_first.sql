-- The first schema. Never edit this file once it was released: its checksum stands in every journal. Add a file instead.
-- Small rows with a key of their own live in the key's tree (WITHOUT ROWID): each tree less is a page less per commit.
-- Written in SQLite's words; migrations.py puts them into PostgreSQL's. Times are µs UTC. JSON texts are written and read by the program; no query looks inside them.

CREATE TABLE node (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id > 0),
    epoch INTEGER NOT NULL CHECK (epoch >= 0)
) STRICT;
INSERT INTO node (id, epoch) VALUES (1, 0);

-- `number` is the accept order. `epoch` says which life of the gateway wrote the row last. `rest` is where those rows are
-- that no submission carries; `state` is what they and the submissions add up to.
CREATE TABLE message (
    number INTEGER NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT NOT NULL,
    site TEXT NOT NULL,
    name TEXT NOT NULL,
    lane TEXT NOT NULL,
    kind TEXT NOT NULL,
    intake_key TEXT NOT NULL,
    raw BLOB NOT NULL,
    content BLOB NOT NULL,
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    state TEXT NOT NULL CHECK (state IN ('refused', 'accepted', 'waiting', 'expired', 'sending', 'in_doubt', 'awaiting',
        'rejected', 'completed', 'partial', 'failed', 'escalated', 'parked')),
    rest TEXT NOT NULL CHECK (rest IN ('refused', 'accepted', 'waiting', 'expired', 'parked')),
    problems TEXT NOT NULL,
    warnings TEXT NOT NULL,
    created TEXT NOT NULL,
    rules TEXT NOT NULL,
    salvage INTEGER NOT NULL CHECK (salvage IN (0, 1)),
    revision TEXT NOT NULL,
    not_after INTEGER,
    accepted_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    transaction_id TEXT,
    followers TEXT,
    alignment TEXT,
    wait_until INTEGER,
    epoch INTEGER NOT NULL
) STRICT;
-- Lanes are asked by state: what blocks, and what is first in accept order.
CREATE INDEX message_state ON message (state, lane, number);
CREATE INDEX message_expiring ON message (state, not_after)
    WHERE not_after IS NOT NULL AND state IN ('accepted', 'waiting');
CREATE INDEX message_waiting ON message (wait_until) WHERE state = 'waiting';

CREATE TABLE submission (
    id TEXT NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT NOT NULL,
    lane TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('accepted', 'expired', 'sending', 'in_doubt', 'awaiting', 'rejected', 'completed',
        'partial', 'failed', 'escalated', 'parked', 'refused')),
    attempts INTEGER NOT NULL CHECK (attempts >= 1),
    transaction_id TEXT,
    first_sent_at INTEGER,
    doubt_since INTEGER,
    awaiting_since INTEGER,
    due_at INTEGER,
    polls INTEGER NOT NULL CHECK (polls >= 0),
    epoch INTEGER NOT NULL
) STRICT;
CREATE INDEX submission_transaction ON submission (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX submission_open ON submission (participant, state, due_at)
    WHERE state IN ('sending', 'in_doubt', 'awaiting');

-- Which rows of which message a submission carries: `row_count` rows from `first_row` of the message, which are the rows
-- from `first_in_submission` of the submission. `names` are the rows' names where the submission carries several messages,
-- else an empty list. `fate` says what became of these rows where that is not what became of the submission; with
-- 'again' and 'alone' they are sent once more, in another one.
CREATE TABLE part (
    submission_id TEXT NOT NULL REFERENCES submission (id),
    message_id TEXT NOT NULL REFERENCES message (id),
    first_row INTEGER NOT NULL CHECK (first_row >= 0),
    row_count INTEGER NOT NULL CHECK (row_count >= 0),
    first_in_submission INTEGER NOT NULL CHECK (first_in_submission >= 0),
    names TEXT NOT NULL,
    fate TEXT CHECK (fate IN ('again', 'alone', 'completed', 'partial', 'failed')),
    PRIMARY KEY (submission_id, first_in_submission)
) STRICT, WITHOUT ROWID;
CREATE INDEX part_message ON part (message_id);

-- One try at sending. Without an outcome it was under way when the gateway died; its signature is then not known.
CREATE TABLE attempt (
    submission_id TEXT NOT NULL REFERENCES submission (id),
    number INTEGER NOT NULL CHECK (number >= 1),
    jti TEXT NOT NULL,
    iat INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    signature TEXT,
    outcome TEXT,
    status INTEGER,
    answer BLOB,
    answer_signature TEXT,
    note TEXT,
    settled_at INTEGER,
    PRIMARY KEY (submission_id, number)
) STRICT, WITHOUT ROWID;

-- Every validly signed callback, with what it said already read, so that a late match parses nothing.
CREATE TABLE callback (
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    participant TEXT NOT NULL,
    body BLOB NOT NULL,
    signature TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    hops TEXT NOT NULL,
    disposition TEXT NOT NULL
        CHECK (disposition IN ('applied', 'repeated', 'conflict', 'orphan', 'other', 'quarantined')),
    note TEXT NOT NULL,
    transaction_id TEXT,
    named_submission TEXT,
    verdict TEXT,
    submission_id TEXT,
    message_id TEXT,
    PRIMARY KEY (environment, issuer, jti)
) STRICT;
CREATE INDEX callback_orphan ON callback (environment, participant, received_at) WHERE disposition = 'orphan';
CREATE INDEX callback_submission ON callback (submission_id) WHERE submission_id IS NOT NULL;

CREATE TABLE relay (
    id INTEGER NOT NULL PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES message (id),
    participant TEXT NOT NULL,
    site TEXT NOT NULL,
    connection TEXT NOT NULL,
    rule TEXT NOT NULL,
    event TEXT NOT NULL CHECK (event IN ('refused', 'accepted', 'waiting', 'expired', 'sending', 'in_doubt', 'awaiting',
        'rejected', 'completed', 'partial', 'failed', 'escalated', 'parked')),
    result_seq INTEGER CHECK (result_seq BETWEEN 1 AND 65535),
    state TEXT NOT NULL CHECK (state IN ('pending', 'superseded', 'delivered', 'rejected')),
    problem TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX relay_pending ON relay (site, connection, id) WHERE state = 'pending';
CREATE INDEX relay_message ON relay (message_id);

-- Callbacks that are no verdicts, on their way to the sites that asked for them; `writes` is what their points get.
CREATE TABLE callback_relay (
    id INTEGER NOT NULL PRIMARY KEY,
    environment TEXT NOT NULL,
    issuer TEXT NOT NULL,
    jti TEXT NOT NULL,
    site TEXT NOT NULL,
    connection TEXT NOT NULL,
    writes TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'rejected')),
    problem TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    FOREIGN KEY (environment, issuer, jti) REFERENCES callback (environment, issuer, jti)
) STRICT;
CREATE INDEX callback_relay_pending ON callback_relay (site, connection, id) WHERE state = 'pending';

CREATE TABLE mailbox (
    site TEXT NOT NULL,
    mailbox TEXT NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 1),
    sequence INTEGER NOT NULL CHECK (sequence BETWEEN 0 AND 65535),
    crc INTEGER NOT NULL,
    result_seq INTEGER CHECK (result_seq BETWEEN 0 AND 65535),
    PRIMARY KEY (site, mailbox)
) STRICT, WITHOUT ROWID;

CREATE TABLE reference (
    lane TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL,
    counter INTEGER NOT NULL CHECK (counter >= 0)
) STRICT;

CREATE TABLE hop (
    message_id TEXT NOT NULL,
    hop TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (message_id, hop)
) STRICT, WITHOUT ROWID;

-- One row for each step of each submission (or message that has none yet), and for evidence that moved nothing: the
-- chain of evidence of its participant (core/evidence.py). `number` counts within the chain, in the order of `id`.
CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY,
    number INTEGER NOT NULL CHECK (number >= 1),
    at INTEGER NOT NULL,
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    message_id TEXT,
    submission_id TEXT,
    actor TEXT NOT NULL,
    event TEXT NOT NULL,
    from_state TEXT,
    to_state TEXT,
    detail TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    exhibits TEXT,
    link TEXT NOT NULL
) STRICT;
CREATE INDEX audit_message ON audit (message_id) WHERE message_id IS NOT NULL;

-- How far each chain is: how many entries it has, and the link of the last one.
CREATE TABLE chain (
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    length INTEGER NOT NULL CHECK (length >= 1),
    link TEXT NOT NULL,
    PRIMARY KEY (environment, participant)
) STRICT, WITHOUT ROWID;

-- The head of a chain at some time, signed by its participant's key: a compact JWS.
CREATE TABLE checkpoint (
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    number INTEGER NOT NULL CHECK (number >= 1),
    link TEXT NOT NULL,
    at INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (environment, participant, number)
) STRICT, WITHOUT ROWID;

-- Bytes that an audit row attests and no other table keeps: what the SMP said when it was asked, what a site was told.
CREATE TABLE exhibit (
    message_id TEXT NOT NULL REFERENCES message (id),
    digest TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (message_id, digest)
) STRICT, WITHOUT ROWID;

-- Every public key that something in here was verified or signed with, as a JSON Web Key. `owner` is the issuer of
-- callbacks, or the participant.
CREATE TABLE public_key (
    environment TEXT NOT NULL,
    owner TEXT NOT NULL,
    jwk TEXT NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (environment, owner, jwk)
) STRICT, WITHOUT ROWID;

-- The registry: every asset and unit that is known. Without `is_there` its last message ended without it, and `note` says
-- why. Names of one participant never meet those of another, nor of another environment.
CREATE TABLE asset (
    environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    smp_id TEXT,
    origin TEXT NOT NULL CHECK (origin IN ('created', 'adopted', 'seen')),
    is_there INTEGER NOT NULL CHECK (is_there IN (0, 1)),
    gsp_group TEXT,
    message_id TEXT,
    note TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (environment, participant, kind, name)
) STRICT, WITHOUT ROWID;

-- The names that open messages create, so each belongs to one lane. `settled` marks those that the commit under way
-- found created; they move into the registry with it.
CREATE TABLE claim (
    message_id TEXT NOT NULL REFERENCES message (id) DEFERRABLE INITIALLY DEFERRED,
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    kind TEXT NOT NULL,
    line INTEGER NOT NULL CHECK (line >= 0),
    gsp_group TEXT,
    smp_id TEXT,
    settled INTEGER NOT NULL DEFAULT 0 CHECK (settled IN (0, 1)),
    PRIMARY KEY (message_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_name ON claim (name, participant, environment, kind);

-- What a WAITING unit still waits for: an asset by name, or the next message of a lane.
CREATE TABLE need (
    message_id TEXT NOT NULL REFERENCES message (id) DEFERRABLE INITIALLY DEFERRED,
    what TEXT NOT NULL CHECK (what IN ('asset', 'lane')),
    name TEXT NOT NULL,
    environment TEXT NOT NULL,
    participant TEXT NOT NULL,
    PRIMARY KEY (message_id, what, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX need_name ON need (name, participant, environment, what);

-- A message that is to be made because another one ended; written with that end, taken away with the message.
CREATE TABLE sequel (
    parent_id TEXT NOT NULL REFERENCES message (id),
    message TEXT NOT NULL,
    kind TEXT NOT NULL,
    site TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (parent_id, message)
) STRICT, WITHOUT ROWID;
