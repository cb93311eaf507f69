-- Several gateways at once. A node is one life of one gateway, and its epoch is its id, which is never used again: who sees
-- its turn stand still knows that it is dead. `machine` and `process` are where it runs, `seen_at` is the database's own
-- time (µs UTC), `shares` what it divides the SMP's rate by. A lease gives a participant, and all its sites, to a node.
CREATE SEQUENCE node_life AS BIGINT;
SELECT setval('node_life', 1 + (SELECT MAX(epoch) FROM node), false);
DELETE FROM node;
ALTER TABLE node ADD COLUMN host TEXT COLLATE "C" NOT NULL;
ALTER TABLE node ADD COLUMN machine TEXT COLLATE "C" NOT NULL;
ALTER TABLE node ADD COLUMN process BIGINT NOT NULL;
ALTER TABLE node ADD COLUMN started_at BIGINT NOT NULL;
ALTER TABLE node ADD COLUMN seen_at BIGINT NOT NULL;
ALTER TABLE node ADD COLUMN shares BIGINT NOT NULL;
ALTER TABLE node ADD COLUMN leaving BIGINT NOT NULL DEFAULT 0 CHECK (leaving IN (0, 1));
CREATE TABLE lease (
    environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
    participant TEXT COLLATE "C" NOT NULL,
    node BIGINT,
    epoch BIGINT NOT NULL CHECK (epoch >= 0),
    since BIGINT NOT NULL,
    PRIMARY KEY (environment, participant)
);
