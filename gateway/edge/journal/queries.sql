-- Every statement of the journal, by name. Portable between SQLite and PostgreSQL: named parameters, ON CONFLICT and
-- RETURNING; no row ids, no functions on JSON. Columns are listed in the order in which rows.py reads them.
-- `:now`, `:node` and `:epoch` come with every call inside a commit. Every UPDATE of a message or a submission writes only
-- in the epoch that the row of its node holds, so that a gateway that was replaced changes nothing.

-- :name node_epoch
SELECT epoch FROM node WHERE id = :node

-- :name raise_epoch
UPDATE node SET epoch = epoch + 1 WHERE id = :node RETURNING epoch

-- :name newest_audit
SELECT MAX(at) FROM audit WHERE id = (SELECT MAX(id) FROM audit)

-- ---------------------------------------------------------------- messages

-- :name message_by_id
SELECT id, lane, kind, intake_key, content, row_count, state, accepted_at, updated_at, not_after, problems, created,
    transaction_id, warnings
FROM message WHERE id = :id

-- :name messages_between
SELECT id FROM message WHERE id >= :low AND id < :high ORDER BY id LIMIT :limit

-- :name message_standing
SELECT state, row_count FROM message WHERE id = :id

-- :name lane_of_message
SELECT lane FROM message WHERE id = :id

-- :name message_same
SELECT kind, raw, content, state FROM message WHERE id = :id

-- :name message_dossier
SELECT raw, revision, rules FROM message WHERE id = :id

-- :name insert_message
INSERT INTO message (id, environment, participant, site, name, lane, kind, intake_key, raw, content, row_count, state,
    rest, problems, warnings, created, rules, salvage, revision, not_after, accepted_at, updated_at, transaction_id,
    followers, alignment, wait_until, epoch)
VALUES (:id, :environment, :participant, :site, :name, :lane, :kind, :intake_key, :raw, :content, :row_count, :state,
    :rest, :problems, :warnings, :created, :rules, :salvage, :revision, :not_after, :accepted_at, :now, NULL,
    :followers, :alignment, :wait_until, :epoch)

-- :name update_message
UPDATE message SET state = :state, rest = :rest, problems = :problems, created = :created, updated_at = :now,
    epoch = :epoch, transaction_id = COALESCE(:transaction_id, transaction_id)
WHERE id = :id AND :epoch = (SELECT epoch FROM node WHERE id = :node)
RETURNING id

-- :name lane_blocking
SELECT state FROM message
WHERE lane = :lane AND (state IN ('sending', 'in_doubt', 'escalated', 'parked') OR (state = 'waiting' AND number <
    (SELECT MIN(number) FROM message WHERE lane = :lane AND state = 'accepted')))
LIMIT 1

-- :name lane_busy
SELECT state FROM message
WHERE lane = :lane AND state IN ('accepted', 'waiting', 'sending', 'in_doubt', 'escalated', 'parked')
LIMIT 1

-- :name lane_awaiting
SELECT state FROM submission
WHERE state IN ('sending', 'in_doubt', 'awaiting') AND participant = :participant AND state = 'awaiting'
    AND lane = :lane
LIMIT 1

-- :name accepted_lanes
SELECT lane, MIN(number) FROM message
WHERE state = 'accepted'
GROUP BY lane ORDER BY 2

-- :name first_accepted
SELECT id, lane, kind, intake_key, content, row_count, state, accepted_at, updated_at, not_after, problems, created,
    transaction_id, warnings
FROM message
WHERE lane = :lane AND state = 'accepted'
ORDER BY number LIMIT 1

-- :name accepted_of_lane
SELECT id, row_count, not_after FROM message
WHERE lane = :lane AND state = 'accepted'
ORDER BY number LIMIT :limit

-- :name expired_messages
SELECT id, lane FROM message
WHERE not_after IS NOT NULL AND state IN ('accepted', 'waiting') AND not_after <= :now
ORDER BY number

-- :name history
SELECT id, lane, kind, intake_key, content, row_count, state, accepted_at, updated_at, not_after, problems, created,
    transaction_id, warnings
FROM message
WHERE (CAST(:environment AS TEXT) IS NULL OR environment = :environment)
    AND (CAST(:participant AS TEXT) IS NULL OR participant = :participant)
    AND (CAST(:site AS TEXT) IS NULL OR site = :site)
    AND (CAST(:state AS TEXT) IS NULL OR state = :state)
ORDER BY number DESC LIMIT :limit

-- :name open_messages
SELECT lane, state, COUNT(*) FROM message
WHERE state IN ('accepted', 'waiting', 'sending', 'in_doubt', 'awaiting', 'escalated', 'parked')
GROUP BY lane, state

-- :name overdue_verdicts
SELECT participant, COUNT(*) FROM submission
WHERE state IN ('sending', 'in_doubt', 'awaiting') AND state = 'awaiting'
    AND environment = :environment AND awaiting_since <= :until
GROUP BY participant

-- :name count_messages
SELECT state, COUNT(*) FROM message GROUP BY state

-- :name count_relays
SELECT (SELECT COUNT(*) FROM relay WHERE state = 'pending')
    + (SELECT COUNT(*) FROM callback_relay WHERE state = 'pending')

-- :name hops
SELECT hop, at FROM hop WHERE message_id = :message_id

-- :name insert_hop
INSERT INTO hop (message_id, hop, at) VALUES (:message_id, :hop, :at) ON CONFLICT DO NOTHING

-- :name insert_audit
INSERT INTO audit (number, at, environment, participant, message_id, submission_id, actor, event, from_state, to_state,
    detail, epoch, exhibits, link)
VALUES (:number, :at, :environment, :participant, :message_id, :submission_id, :actor, :event, :from_state, :to_state,
    :detail, :epoch, :exhibits, :link)

-- :name audit_of_message
SELECT at, actor, event, submission_id, from_state, to_state, detail FROM audit
WHERE message_id = :message_id ORDER BY id

-- ---------------------------------------------------------------- the chain of evidence

-- :name extend_chain
UPDATE chain SET length = :length, link = :link
WHERE environment = :environment AND participant = :participant AND length = :before AND link = :link_before
RETURNING length

-- :name lengthen_chain
INSERT INTO chain (environment, participant, length, link) VALUES (:environment, :participant, :more, :genesis)
ON CONFLICT (environment, participant) DO UPDATE SET length = chain.length + excluded.length
RETURNING length, link

-- :name set_chain_link
UPDATE chain SET link = :link WHERE environment = :environment AND participant = :participant

-- :name chain
SELECT length, link FROM chain WHERE environment = :environment AND participant = :participant

-- :name chains
SELECT environment, participant, length, link FROM chain ORDER BY environment, participant

-- :name chain_entries
SELECT number, link, at, environment, participant, message_id, submission_id, actor, event, from_state, to_state, detail,
    epoch, exhibits, id
FROM audit
WHERE environment = :environment AND participant = :participant AND id > :after
ORDER BY id LIMIT :limit

-- :name entries_of_message
SELECT number, link, at, environment, participant, message_id, submission_id, actor, event, from_state, to_state, detail,
    epoch, exhibits, id
FROM audit WHERE message_id = :message_id ORDER BY id

-- :name audit_owners
SELECT DISTINCT environment, participant FROM audit

-- :name message_ids
SELECT id FROM message ORDER BY number

-- :name audit_places
SELECT id, number, environment, participant FROM audit WHERE message_id = :message_id ORDER BY id

-- :name link_before
SELECT link FROM audit WHERE environment = :environment AND participant = :participant AND id < :id
ORDER BY id DESC LIMIT 1

-- :name last_checkpoint
SELECT MAX(number) FROM checkpoint WHERE environment = :environment AND participant = :participant

-- :name checkpoints
SELECT number, link, at, key_id, token FROM checkpoint
WHERE environment = :environment AND participant = :participant AND number >= :first AND number <= :last
ORDER BY number

-- :name covering_checkpoint
SELECT MIN(number) FROM checkpoint
WHERE environment = :environment AND participant = :participant AND number >= :number

-- :name insert_checkpoint
INSERT INTO checkpoint (environment, participant, number, link, at, key_id, token)
VALUES (:environment, :participant, :number, :link, :at, :key_id, :token) ON CONFLICT DO NOTHING

-- :name cut
SELECT number, link, at, key_id, token FROM cut WHERE environment = :environment AND participant = :participant

-- :name keep_cut
INSERT INTO cut (environment, participant, number, link, at, key_id, token)
VALUES (:environment, :participant, :number, :link, :at, :key_id, :token)
ON CONFLICT (environment, participant) DO UPDATE SET number = excluded.number, link = excluded.link, at = excluded.at,
    key_id = excluded.key_id, token = excluded.token
WHERE excluded.number > cut.number

-- :name newest_entry
SELECT MAX(id) FROM audit

-- :name message_stays
SELECT 1 FROM message m WHERE m.id = :id AND (m.updated_at > :before
    OR m.state NOT IN ('refused', 'expired', 'rejected', 'completed', 'partial', 'failed')
    OR m.number = (SELECT MAX(number) FROM message)
    OR EXISTS (SELECT 1 FROM relay r WHERE r.message_id = m.id
        AND (r.state = 'pending' OR r.id = (SELECT MAX(id) FROM relay)))
    OR EXISTS (SELECT 1 FROM sequel q WHERE q.parent_id = m.id)
    OR EXISTS (SELECT 1 FROM part p JOIN callback c ON c.submission_id = p.submission_id
            JOIN callback_relay x ON x.environment = c.environment AND x.issuer = c.issuer AND x.jti = c.jti
        WHERE p.message_id = m.id AND x.state = 'pending'))

-- :name delete_entries
DELETE FROM audit WHERE environment = :environment AND participant = :participant AND id <= :last AND number <= :number

-- :name delete_checkpoints
DELETE FROM checkpoint WHERE environment = :environment AND participant = :participant AND number <= :number

-- :name delete_exhibits
DELETE FROM exhibit WHERE message_id = :message_id

-- :name delete_hops
DELETE FROM hop WHERE message_id = :message_id

-- :name delete_relays
DELETE FROM relay WHERE message_id = :message_id

-- :name delete_parts_of_message
DELETE FROM part WHERE message_id = :message_id RETURNING submission_id

-- :name delete_message
DELETE FROM message WHERE id = :message_id

-- :name delete_relays_of_callbacks
DELETE FROM callback_relay WHERE (environment, issuer, jti) IN (
    SELECT c.environment, c.issuer, c.jti FROM callback c WHERE c.submission_id = :submission_id)

-- :name delete_callbacks
DELETE FROM callback WHERE submission_id = :submission_id

-- :name delete_relays_of_callback
DELETE FROM callback_relay WHERE environment = :environment AND issuer = :issuer AND jti = :jti

-- :name delete_callback
DELETE FROM callback WHERE environment = :environment AND issuer = :issuer AND jti = :jti AND submission_id IS NULL

-- :name loose_callback_stays
SELECT 1 FROM callback c WHERE c.environment = :environment AND c.issuer = :issuer AND c.jti = :jti
    AND (c.submission_id IS NOT NULL OR EXISTS (SELECT 1 FROM callback_relay x WHERE x.environment = c.environment
        AND x.issuer = c.issuer AND x.jti = c.jti AND (x.state = 'pending' OR x.id = (SELECT MAX(id) FROM callback_relay))))

-- :name delete_attempts
DELETE FROM attempt WHERE submission_id = :submission_id

-- :name delete_submission
DELETE FROM submission WHERE id = :submission_id

-- :name insert_exhibit
INSERT INTO exhibit (message_id, digest, body) VALUES (:message_id, :digest, :body) ON CONFLICT DO NOTHING

-- :name exhibits_of_message
SELECT body FROM exhibit WHERE message_id = :message_id ORDER BY digest

-- :name message_bytes
SELECT raw, content FROM message WHERE id = :id

-- :name bodies_of_message
SELECT body FROM submission WHERE id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)

-- :name answers_of_message
SELECT signature, answer, answer_signature FROM attempt
WHERE submission_id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)

-- :name callback_bytes_of_message
SELECT body, signature FROM callback
WHERE submission_id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)

-- :name insert_public_key
INSERT INTO public_key (environment, owner, jwk, seen_at) VALUES (:environment, :owner, :jwk, :now)
ON CONFLICT DO NOTHING

-- :name public_keys
SELECT owner, jwk FROM public_key WHERE environment = :environment ORDER BY seen_at, jwk

-- :name audit_of_participants
SELECT environment, participant, at, actor, event, submission_id, from_state, to_state, detail FROM audit
WHERE message_id IS NULL AND (CAST(:participant AS TEXT) IS NULL OR participant = :participant)
ORDER BY id DESC LIMIT :limit

-- ---------------------------------------------------------------- submissions

-- :name submission_by_id
SELECT s.id, (SELECT p.message_id FROM part p WHERE p.submission_id = s.id
    ORDER BY p.first_in_submission LIMIT 1), s.lane, s.kind, s.body, s.state,
    s.transaction_id, s.first_sent_at, s.doubt_since, s.awaiting_since, s.polls, a.number, a.jti, a.iat, a.key_id
FROM submission s JOIN attempt a ON a.submission_id = s.id AND a.number = s.attempts
WHERE s.id = :id

-- :name submissions_by_transaction
SELECT id FROM submission
WHERE transaction_id = :transaction_id AND environment = :environment AND participant = :participant

-- :name submissions_of_message
SELECT s.id, :message_id, s.lane, s.kind, s.body, s.state,
    s.transaction_id, s.first_sent_at, s.doubt_since, s.awaiting_since, s.polls, a.number, a.jti, a.iat, a.key_id
FROM submission s JOIN attempt a ON a.submission_id = s.id AND a.number = s.attempts
    JOIN attempt f ON f.submission_id = s.id AND f.number = 1
WHERE s.id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)
ORDER BY f.started_at, s.id

-- :name fallen_back
SELECT s.id, :message_id, s.lane, s.kind, s.body, s.state,
    s.transaction_id, s.first_sent_at, s.doubt_since, s.awaiting_since, s.polls, a.number, a.jti, a.iat, a.key_id
FROM submission s JOIN attempt a ON a.submission_id = s.id AND a.number = s.attempts
WHERE s.state = 'accepted' AND s.id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)
ORDER BY s.id

-- :name sending_submissions
SELECT id FROM submission
WHERE state IN ('sending', 'in_doubt', 'awaiting') AND state = 'sending'
    AND (CAST(:environment AS TEXT) IS NULL OR environment = :environment)
    AND (CAST(:participant AS TEXT) IS NULL OR participant = :participant)
LIMIT :limit

-- :name overdue_submissions
SELECT s.id, (SELECT p.message_id FROM part p WHERE p.submission_id = s.id
    ORDER BY p.first_in_submission LIMIT 1), s.lane, s.kind, s.body, s.state,
    s.transaction_id, s.first_sent_at, s.doubt_since, s.awaiting_since, s.polls, a.number, a.jti, a.iat, a.key_id
FROM submission s JOIN attempt a ON a.submission_id = s.id AND a.number = s.attempts
WHERE s.state IN ('sending', 'in_doubt', 'awaiting') AND s.participant = :participant AND s.state = :state
    AND s.environment = :environment AND (s.due_at <= :until OR s.due_at > :horizon)
ORDER BY s.due_at LIMIT :limit

-- :name next_due
SELECT MIN(due_at) FROM submission
WHERE state IN ('sending', 'in_doubt', 'awaiting') AND participant = :participant AND state = :state
    AND environment = :environment AND due_at > :until AND due_at <= :horizon

-- :name count_backlog
SELECT COUNT(*) FROM message WHERE state = 'accepted' AND environment = :environment

-- :name insert_submission
INSERT INTO submission (id, environment, participant, lane, kind, body, state, attempts, transaction_id, first_sent_at,
    doubt_since, awaiting_since, due_at, polls, epoch)
VALUES (:id, :environment, :participant, :lane, :kind, :body, :state, 1, NULL, NULL, NULL, NULL, NULL, 0, :epoch)

-- :name insert_part
INSERT INTO part (submission_id, message_id, first_row, row_count, first_in_submission, names, fate)
VALUES (:submission_id, :message_id, :first_row, :row_count, :first_in_submission, :names, :fate)

-- :name delete_parts
DELETE FROM part WHERE submission_id = :submission_id AND message_id = :message_id

-- :name insert_attempt
INSERT INTO attempt (submission_id, number, jti, iat, key_id, started_at, epoch)
VALUES (:submission_id, :number, :jti, :iat, :key_id, :now, :epoch)

-- :name settle_attempt
UPDATE attempt SET signature = :signature, outcome = :outcome, status = :status, answer = :answer,
    answer_signature = :answer_signature, note = :note, settled_at = :now
WHERE submission_id = :submission_id AND number = :number

-- :name count_attempt
UPDATE submission SET attempts = :number
WHERE id = :id AND :epoch = (SELECT epoch FROM node WHERE id = :node)
RETURNING id

-- :name move_submission
UPDATE submission SET state = :state, due_at = :due_at, polls = 0, epoch = :epoch,
    transaction_id = COALESCE(transaction_id, :transaction_id),
    doubt_since = CASE WHEN :state = 'in_doubt' THEN COALESCE(doubt_since, :now) ELSE doubt_since END,
    awaiting_since = CASE WHEN :state = 'awaiting' THEN :now ELSE awaiting_since END
WHERE id = :id AND :epoch = (SELECT epoch FROM node WHERE id = :node)
RETURNING id

-- :name name_transaction
UPDATE submission SET transaction_id = :transaction_id, epoch = :epoch
WHERE id = :id AND transaction_id IS NULL AND :epoch = (SELECT epoch FROM node WHERE id = :node)

-- :name name_transaction_of_message
UPDATE message SET transaction_id = :transaction_id, epoch = :epoch
WHERE id = :id AND transaction_id IS NULL AND :epoch = (SELECT epoch FROM node WHERE id = :node)

-- :name first_sent
UPDATE submission SET first_sent_at = :at
WHERE id = :id AND first_sent_at IS NULL AND :epoch = (SELECT epoch FROM node WHERE id = :node)

-- :name postpone
UPDATE submission SET due_at = :due_at, polls = polls + 1
WHERE id = :id AND :epoch = (SELECT epoch FROM node WHERE id = :node)

-- :name hasten
UPDATE submission SET due_at = 0
WHERE id = :id AND state IN ('in_doubt', 'awaiting') AND :epoch = (SELECT epoch FROM node WHERE id = :node)

-- :name parts_of_submission
SELECT message_id, first_row, row_count, first_in_submission, names, fate
FROM part WHERE submission_id = :submission_id ORDER BY first_in_submission

-- :name parts_of_message
SELECT p.message_id, p.first_row, p.row_count, p.first_in_submission, '[]', p.fate, s.state
FROM part p JOIN submission s ON s.id = p.submission_id
WHERE p.message_id = :message_id

-- :name names_under_way
SELECT p.names FROM submission s JOIN part p ON p.submission_id = s.id JOIN message m ON m.id = p.message_id
WHERE s.state IN ('sending', 'in_doubt', 'awaiting') AND s.participant = :participant AND s.state = 'awaiting'
    AND s.lane = :lane AND p.names <> '[]' AND (m.salvage = 1 OR EXISTS (
        SELECT 1 FROM part o WHERE o.submission_id = p.submission_id AND o.message_id <> p.message_id))

-- :name portions_of_message
SELECT p.submission_id, p.first_row, p.row_count, p.first_in_submission, p.fate
FROM part p JOIN attempt a ON a.submission_id = p.submission_id AND a.number = 1
WHERE p.message_id = :message_id ORDER BY a.started_at, p.submission_id, p.first_in_submission

-- :name message_to_move
SELECT id, row_count, state, rest, lane, problems, created, rules, salvage FROM message WHERE id = :id

-- :name not_after_of_submission
SELECT MIN(m.not_after) FROM part p JOIN message m ON m.id = p.message_id WHERE p.submission_id = :submission_id

-- :name attempts_of_message
SELECT a.submission_id, a.number, a.jti, a.iat, a.key_id, a.started_at, a.signature, a.outcome, a.status, a.answer,
    a.answer_signature, a.note, a.settled_at
FROM attempt a
WHERE a.submission_id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)
ORDER BY a.started_at, a.submission_id, a.number

-- ---------------------------------------------------------------- callbacks

-- :name callback_by_jti
SELECT body, disposition, note FROM callback WHERE environment = :environment AND issuer = :issuer AND jti = :jti

-- :name insert_callback
INSERT INTO callback (environment, issuer, jti, participant, body, signature, received_at, hops, disposition, note,
    transaction_id, named_submission, verdict, submission_id, message_id)
VALUES (:environment, :issuer, :jti, :participant, :body, :signature, :received_at, :hops, :disposition, :note,
    :transaction_id, :named_submission, :verdict, :submission_id, :message_id)

-- :name orphans
SELECT issuer, jti, hops, transaction_id, named_submission, verdict, body, signature FROM callback
WHERE disposition = 'orphan' AND environment = :environment AND participant = :participant
    AND (transaction_id = :transaction_id OR named_submission = :submission_id)
ORDER BY received_at, jti

-- :name loose_orphans
SELECT issuer, jti, transaction_id, verdict FROM callback
WHERE disposition = 'orphan' AND environment = :environment AND participant = :participant AND submission_id IS NULL
    AND verdict IS NOT NULL AND (CAST(:jti AS TEXT) IS NULL OR jti = :jti)
ORDER BY received_at, jti

-- :name open_doubts
SELECT s.id, m.id, m.lane, m.kind, m.content, p.first_row, p.row_count
FROM message m JOIN part p ON p.message_id = m.id JOIN submission s ON s.id = p.submission_id
WHERE m.state IN ('sending', 'in_doubt', 'escalated') AND m.environment = :environment
    AND m.participant = :participant AND s.state IN ('in_doubt', 'escalated') AND s.transaction_id IS NULL
ORDER BY m.number, p.first_in_submission

-- :name suggest_callback
UPDATE callback SET note = :note, submission_id = :submission_id, message_id = :message_id
WHERE environment = :environment AND issuer = :issuer AND jti = :jti

-- :name adopt_callback
UPDATE callback SET disposition = :disposition, note = :note, submission_id = :submission_id, message_id = :message_id
WHERE environment = :environment AND issuer = :issuer AND jti = :jti

-- :name callbacks
SELECT environment, participant, issuer, jti, received_at, disposition, note, transaction_id, body, signature, dismissed
FROM callback
WHERE (CAST(:environment AS TEXT) IS NULL OR environment = :environment)
    AND (CAST(:participant AS TEXT) IS NULL OR participant = :participant)
    AND (CAST(:disposition AS TEXT) IS NULL OR disposition = :disposition)
    AND substr(jti, 1, length(:jti)) = :jti
ORDER BY received_at DESC, jti LIMIT :limit

-- :name unmatched_callbacks
SELECT participant, COUNT(*) FROM callback
WHERE disposition = 'orphan' AND dismissed IS NULL AND received_at <= :until
GROUP BY participant ORDER BY participant

-- :name dismiss_callback
UPDATE callback SET dismissed = :decision
WHERE environment = :environment AND participant = :participant AND issuer = :issuer AND jti = :jti
    AND disposition = 'orphan' AND dismissed IS NULL
RETURNING jti

-- :name callbacks_of_message
SELECT issuer, jti, received_at, disposition, note, transaction_id, body, signature, dismissed FROM callback
WHERE submission_id IN (SELECT p.submission_id FROM part p WHERE p.message_id = :message_id)
ORDER BY received_at, jti

-- ---------------------------------------------------------------- relays, mailboxes, references

-- :name insert_relay
INSERT INTO relay (message_id, participant, site, connection, rule, event, result_seq, state, created_at)
VALUES (:message_id, :participant, :site, :connection, :rule, :event, :result_seq, 'pending', :now)

-- :name pending_relays_of_message
SELECT id, event, rule FROM relay WHERE message_id = :message_id AND state = 'pending'

-- :name supersede_relay
UPDATE relay SET state = 'superseded', finished_at = :now WHERE id = :id AND state = 'pending'

-- :name next_relay
SELECT id, message_id, participant, site, event, rule, result_seq FROM relay
WHERE site = :site AND connection = :connection AND state = 'pending'
ORDER BY id LIMIT 1

-- :name connections_owed
SELECT DISTINCT connection FROM relay WHERE site = :site AND state = 'pending'

-- :name places_owed
SELECT site, connection, COUNT(*) FROM relay WHERE state = 'pending' GROUP BY site, connection ORDER BY site, connection

-- :name sites_open
SELECT site, COUNT(*) FROM message
WHERE state IN ('accepted', 'waiting', 'sending', 'in_doubt', 'awaiting', 'escalated', 'parked')
GROUP BY site ORDER BY site

-- :name open_rules
SELECT rules FROM message
WHERE state IN ('accepted', 'waiting', 'sending', 'in_doubt', 'awaiting', 'escalated', 'parked') AND site = :site

-- :name relay_by_id
SELECT id, message_id, participant, site, event, rule, result_seq FROM relay WHERE id = :id

-- :name relays_numbered
SELECT id, message_id, participant, site, event, rule, result_seq FROM relay
WHERE site = :site AND connection = :connection AND result_seq = :result_seq AND state <> 'rejected'
ORDER BY id DESC

-- :name number_relay
UPDATE relay SET result_seq = :result_seq WHERE id = :id AND result_seq IS NULL

-- :name finish_relay
UPDATE relay SET state = :state, problem = :problem, finished_at = :now
WHERE id = :id AND state IN ('pending', 'superseded')
RETURNING message_id, connection, event

-- :name relays_of_message
SELECT id, connection, event, result_seq, state, problem, created_at, finished_at FROM relay
WHERE message_id = :message_id ORDER BY id

-- :name insert_callback_relay
INSERT INTO callback_relay (environment, issuer, jti, site, connection, writes, state, created_at)
VALUES (:environment, :issuer, :jti, :site, :connection, :writes, 'pending', :now)

-- :name next_callback_relay
SELECT id, writes FROM callback_relay
WHERE site = :site AND connection = :connection AND state = 'pending'
ORDER BY id LIMIT 1

-- :name finish_callback_relay
UPDATE callback_relay SET state = :state, problem = :problem, finished_at = :now WHERE id = :id AND state = 'pending'

-- :name mailbox_position
SELECT generation, sequence, crc, result_seq FROM mailbox WHERE site = :site AND mailbox = :mailbox

-- :name set_mailbox_position
INSERT INTO mailbox (site, mailbox, generation, sequence, crc, result_seq)
VALUES (:site, :mailbox, :generation, :sequence, :crc, :result_seq)
ON CONFLICT (site, mailbox) DO UPDATE SET generation = excluded.generation, sequence = excluded.sequence,
    crc = excluded.crc, result_seq = COALESCE(excluded.result_seq, mailbox.result_seq)

-- :name set_result_seq
UPDATE mailbox SET result_seq = :result_seq WHERE site = :site AND mailbox = :mailbox

-- :name reference
SELECT value, counter FROM reference WHERE lane = :lane

-- :name set_reference
INSERT INTO reference (lane, value, counter) VALUES (:lane, :value, :counter)
ON CONFLICT (lane) DO UPDATE SET value = excluded.value, counter = excluded.counter

-- ---------------------------------------------------------------- the registry: assets, claims, needs, sequels

-- :name insert_claim
INSERT INTO claim (message_id, name, environment, participant, kind, line, gsp_group)
VALUES (:message_id, :name, :environment, :participant, :kind, :line, :gsp_group)

-- :name foreign_claims
SELECT mine.line, mine.name, m.lane, m.state FROM claim mine
    JOIN claim other ON other.name = mine.name AND other.participant = mine.participant
        AND other.environment = mine.environment AND other.kind = mine.kind AND other.message_id <> mine.message_id
    JOIN message m ON m.id = other.message_id
WHERE mine.message_id = :message_id AND m.lane <> :lane
ORDER BY mine.line LIMIT :limit

-- :name delete_claims
DELETE FROM claim WHERE message_id = :message_id

-- :name settle_claims
UPDATE claim SET settled = 1
WHERE message_id = :message_id AND line >= :first AND line < :end
RETURNING name

-- :name settle_claim
UPDATE claim SET settled = 1, smp_id = :smp_id WHERE message_id = :message_id AND name = :name RETURNING name

-- :name claim_of_name
SELECT m.lane, c.gsp_group FROM claim c JOIN message m ON m.id = c.message_id
WHERE c.name = :name AND c.participant = :participant AND c.environment = :environment AND c.kind = :kind
LIMIT 1

-- :name needs_settled
SELECT n.message_id, c.name, c.gsp_group FROM claim c
    JOIN need n ON n.name = c.name AND n.participant = c.participant AND n.environment = c.environment
WHERE c.message_id = :message_id AND c.settled = 1 AND c.kind = 'assets' AND n.what = 'asset'
ORDER BY n.message_id, c.line

-- :name delete_needs_settled
DELETE FROM need WHERE what = 'asset' AND (name, participant, environment) IN (
    SELECT c.name, c.participant, c.environment FROM claim c
    WHERE c.message_id = :message_id AND c.settled = 1 AND c.kind = 'assets')

-- :name assets_settled
INSERT INTO asset (environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note,
    updated_at)
SELECT environment, participant, kind, name, smp_id, 'created', 1, gsp_group, message_id, '', :now
FROM claim WHERE message_id = :message_id AND settled = 1
ON CONFLICT (environment, participant, kind, name) DO UPDATE SET smp_id = COALESCE(excluded.smp_id, asset.smp_id),
    origin = 'created', is_there = 1, gsp_group = COALESCE(excluded.gsp_group, asset.gsp_group),
    message_id = excluded.message_id, note = '', updated_at = excluded.updated_at

-- :name delete_claims_settled
DELETE FROM claim WHERE message_id = :message_id AND settled = 1

-- :name needs_failed
SELECT n.message_id, c.name FROM claim c
    JOIN need n ON n.name = c.name AND n.participant = c.participant AND n.environment = c.environment
WHERE c.message_id = :message_id AND c.kind = 'assets' AND n.what = 'asset' AND NOT EXISTS (
    SELECT 1 FROM claim o WHERE o.name = c.name AND o.participant = c.participant AND o.environment = c.environment
        AND o.kind = c.kind AND o.message_id <> c.message_id)
ORDER BY n.message_id, c.line

-- :name assets_failed
INSERT INTO asset (environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note,
    updated_at)
SELECT environment, participant, kind, name, NULL, 'created', 0, gsp_group, message_id, :note, :now
FROM claim WHERE message_id = :message_id
ON CONFLICT (environment, participant, kind, name) DO UPDATE SET gsp_group = excluded.gsp_group,
    message_id = excluded.message_id, note = excluded.note, updated_at = excluded.updated_at
WHERE asset.is_there = 0

-- :name note_asset_failed
UPDATE asset SET note = :note
WHERE environment = :environment AND participant = :participant AND kind = :kind AND name = :name
    AND message_id = :message_id AND is_there = 0

-- :name see_asset
INSERT INTO asset (environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note,
    updated_at)
VALUES (:environment, :participant, :kind, :name, :smp_id, 'seen', 1, NULL, :message_id, '', :now)
ON CONFLICT (environment, participant, kind, name) DO UPDATE SET smp_id = excluded.smp_id, is_there = 1,
    origin = 'seen', note = '', updated_at = excluded.updated_at
WHERE asset.is_there = 0

-- :name adopt_asset
INSERT INTO asset (environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note,
    updated_at)
VALUES (:environment, :participant, 'assets', :name, :smp_id, 'adopted', 1, :gsp_group, NULL, '', :now)
ON CONFLICT (environment, participant, kind, name) DO UPDATE SET
    origin = CASE WHEN asset.is_there = 1 THEN asset.origin ELSE 'adopted' END, is_there = 1,
    smp_id = COALESCE(excluded.smp_id, asset.smp_id), gsp_group = COALESCE(excluded.gsp_group, asset.gsp_group),
    note = '', updated_at = excluded.updated_at

-- :name asset
SELECT environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note FROM asset
WHERE environment = :environment AND participant = :participant AND kind = :kind AND name = :name

-- :name assets
SELECT environment, participant, kind, name, smp_id, origin, is_there, gsp_group, message_id, note FROM asset
WHERE (CAST(:environment AS TEXT) IS NULL OR environment = :environment)
    AND (CAST(:participant AS TEXT) IS NULL OR participant = :participant)
    AND (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
ORDER BY environment, participant, kind, name LIMIT :limit

-- :name insert_need
INSERT INTO need (message_id, what, name, environment, participant)
VALUES (:message_id, :what, :name, :environment, :participant) ON CONFLICT DO NOTHING

-- :name needs_of
SELECT message_id FROM need
WHERE name = :name AND participant = :participant AND environment = :environment AND what = :what
ORDER BY message_id

-- :name delete_need
DELETE FROM need WHERE message_id = :message_id AND what = :what AND name = :name

-- :name delete_needs
DELETE FROM need WHERE message_id = :message_id

-- :name count_needs
SELECT COUNT(*) FROM need WHERE message_id = :message_id

-- :name doubt_open_messages
INSERT INTO unsure (message_id)
SELECT id FROM message WHERE state IN ('accepted', 'waiting', 'sending', 'in_doubt', 'awaiting', 'escalated', 'parked')
    OR id IN (SELECT parent_id FROM sequel)
ON CONFLICT DO NOTHING

-- :name doubt_message
INSERT INTO unsure (message_id) VALUES (:message_id) ON CONFLICT DO NOTHING

-- :name unsure
SELECT 1 FROM unsure WHERE message_id = :message_id

-- :name delete_unsure
DELETE FROM unsure WHERE message_id = :message_id

-- :name messages_unsent
SELECT id FROM message WHERE state IN ('accepted', 'sending', 'in_doubt', 'awaiting', 'escalated', 'parked')
    AND rest = 'accepted' ORDER BY number

-- :name forget_result_seqs
UPDATE mailbox SET result_seq = NULL

-- :name forget_result_seqs_of_relays
UPDATE relay SET result_seq = NULL WHERE state = 'pending'

-- :name alignment
SELECT alignment, content FROM message WHERE id = :id

-- :name update_alignment
UPDATE message SET alignment = :alignment, content = :content
WHERE id = :id AND :epoch = (SELECT epoch FROM node WHERE id = :node)
RETURNING id

-- :name message_ending
SELECT lane, kind, content, state, problems, followers FROM message WHERE id = :id

-- :name last_of_lane
SELECT id FROM message WHERE number = (SELECT MAX(last) FROM (
    SELECT MAX(number) AS last FROM message WHERE state = 'refused' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'accepted' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'waiting' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'expired' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'sending' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'in_doubt' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'awaiting' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'rejected' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'completed' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'partial' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'failed' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'escalated' AND lane = :lane
    UNION ALL SELECT MAX(number) FROM message WHERE state = 'parked' AND lane = :lane) AS each)

-- :name expired_waits
SELECT id, lane FROM message WHERE state = 'waiting' AND wait_until <= :now ORDER BY number

-- :name insert_sequel
INSERT INTO sequel (parent_id, message, kind, site, created_at)
VALUES (:parent_id, :message, :kind, :site, :now) ON CONFLICT DO NOTHING

-- :name delete_sequel
DELETE FROM sequel WHERE parent_id = :parent_id AND message = :message

-- :name count_sequels
SELECT COUNT(*) FROM sequel WHERE site = :site

-- :name sequels
SELECT q.message, q.kind, m.id, m.lane, m.kind, m.intake_key, m.content, m.row_count, m.state, m.accepted_at,
    m.updated_at, m.not_after, m.problems, m.created, m.transaction_id, m.warnings
FROM sequel q JOIN message m ON m.id = q.parent_id
WHERE q.site = :site ORDER BY q.created_at, m.number

-- ---------------------------------------------------------------- sites that people hold
-- :name hold_site
INSERT INTO site_hold (site, at, actor, reason) VALUES (:site, :now, :actor, :reason) ON CONFLICT (site) DO NOTHING

-- :name release_site
DELETE FROM site_hold WHERE site = :site

-- :name site_holds
SELECT site, at, actor, reason FROM site_hold
