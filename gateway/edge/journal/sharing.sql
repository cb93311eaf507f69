-- What only a journal on PostgreSQL runs, where several gateways share it. Whoever locks several rows locks nodes first,
-- in the order of their ids, and leases after them, in the order of their owners.

-- :name bear_node
INSERT INTO node (id, epoch, host, machine, process, started_at, seen_at, shares)
SELECT life, life, :host, :machine, :process, :now, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT, 1
FROM nextval('node_life') AS life
RETURNING id

-- :name count_turn
UPDATE node SET turn = :turn, seen_at = (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT
WHERE id = :node AND epoch = :epoch
RETURNING id

-- :name turn_of_node
SELECT epoch, turn FROM node WHERE id = :node FOR UPDATE

-- :name lock_node
SELECT id FROM node WHERE id = :node FOR UPDATE

-- :name holder
SELECT node FROM lease WHERE environment = :environment AND participant = :participant

-- :name lock_lease
SELECT node FROM lease WHERE environment = :environment AND participant = :participant FOR UPDATE

-- :name nodes
SELECT id, turn, shares, leaving, machine, process, host, started_at, seen_at FROM node ORDER BY id

-- :name leases
SELECT environment, participant, node, epoch, since FROM lease ORDER BY environment, participant

-- :name enrol
INSERT INTO lease (environment, participant, node, epoch, since)
VALUES (:environment, :participant, NULL, 0, :now) ON CONFLICT DO NOTHING

-- :name claim_lease
UPDATE lease SET node = :node, epoch = epoch + 1, since = :now
WHERE environment = :environment AND participant = :participant AND node IS NULL AND epoch = :before
    AND :epoch = (SELECT epoch FROM node WHERE id = :node)
RETURNING epoch

-- :name release_lease
UPDATE lease SET node = NULL, since = :now
WHERE environment = :environment AND participant = :participant AND node = :node
    AND :epoch = (SELECT epoch FROM node WHERE id = :node)

-- :name set_shares
UPDATE node SET shares = :shares WHERE id = :node AND :shares >= (SELECT COUNT(*) FROM node)

-- :name set_leaving
UPDATE node SET leaving = 1 WHERE id = :node

-- :name bury_node
DELETE FROM node WHERE id = :dead AND turn = :turn RETURNING id

-- :name free_leases
UPDATE lease SET node = NULL, since = :now WHERE node = :dead

-- :name bury_all
DELETE FROM node

-- :name free_all
UPDATE lease SET node = NULL, since = :now WHERE node IS NOT NULL

-- :name notify
SELECT pg_notify('smp_gateway_' || md5(current_schema()), :payload)

-- :name relays_due
SELECT DISTINCT site, connection FROM relay WHERE state = 'pending'
UNION SELECT DISTINCT site, connection FROM callback_relay WHERE state = 'pending'

-- :name sequels_due
SELECT DISTINCT site FROM sequel

-- :name end_node
DELETE FROM node WHERE id = :node

-- :name database_time
SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT
