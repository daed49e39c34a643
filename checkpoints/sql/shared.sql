-- Statements of our own tables, the same on every database.

-- name: add_thread
-- The first generation is the time in microseconds, as whole milliseconds: a thread that is begun anew, in tables that
-- were emptied or made again, is told from what a process remembers. Each deletion adds one.
INSERT INTO holdfast_threads (thread_id, generation, created_at, updated_at)
VALUES (:thread_id, CAST({now} * 1000 AS BIGINT) * 1000, {now}, {now})
ON CONFLICT (thread_id) DO NOTHING;

-- name: adopt_thread
INSERT INTO holdfast_threads (thread_id, generation, created_at, updated_at)
SELECT :thread_id, CAST({now} * 1000 AS BIGINT) * 1000, {now}, {now}
WHERE EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id)
ON CONFLICT (thread_id) DO NOTHING;

-- name: thread
SELECT generation, next_seq, deleted_at IS NOT NULL AS deleted
FROM holdfast_threads
WHERE thread_id = :thread_id;

-- name: heads
-- The first and the newest root checkpoint of each thread, from the key alone.
SELECT thread_id, min(checkpoint_id) AS first, max(checkpoint_id) AS head
FROM checkpoints
WHERE checkpoint_ns = ''
GROUP BY thread_id
ORDER BY head DESC
LIMIT :limit;

-- name: head_of
SELECT thread_id, min(checkpoint_id) AS first, max(checkpoint_id) AS head
FROM checkpoints
WHERE checkpoint_ns = '' AND thread_id = :thread_id
GROUP BY thread_id;

-- name: bury_thread
-- A tombstone: the row stays, so that a run that began before can be told from one that begins now.
UPDATE holdfast_threads
SET generation = generation + 1, next_seq = 1, searched = 0, updated_at = {now}, deleted_at = {now},
    user_id = NULL, title = NULL, metadata = NULL, head = NULL, unfinished = 0, messages = 0, bytes = 0,
    prompt = NULL, live_from = 1, origin_thread_id = NULL, origin_checkpoint_id = NULL
WHERE thread_id = :thread_id;

-- name: delete_rows
DELETE FROM holdfast_messages
WHERE thread_id = :thread_id;

-- name: add_row
INSERT INTO holdfast_messages (thread_id, seq, message_id, digest, codec, key_no, role, name, content, body,
                               ns, channel, checkpoint_id, run_id, step, user_id, created_at)
VALUES (:thread_id, :seq, :message_id, :digest, :codec, :key_no, :role, :name, :content, :body,
        :ns, :channel, :checkpoint_id, :run_id, :step, :user_id, {now});

-- name: claim_row
-- A row gets its id, and the first checkpoint that has it, once; afterwards they stay. Whoever saves may not know that
-- it is part of the conversation by now, which it stays as well.
UPDATE holdfast_messages
SET message_id = coalesce(message_id, :message_id),
    ns = CASE WHEN checkpoint_id IS NOT NULL AND ns = '' THEN ns ELSE :ns END,
    channel = CASE WHEN checkpoint_id IS NOT NULL AND ns = '' AND substr(channel, 1, 2) <> '__' THEN channel
              ELSE :channel END,
    checkpoint_id = coalesce(checkpoint_id, :checkpoint_id),
    run_id = coalesce(run_id, :run_id), step = coalesce(step, :step), user_id = coalesce(user_id, :user_id)
WHERE thread_id = :thread_id AND seq = :seq;

-- name: load_rows
SELECT seq, ns, channel, checkpoint_id IS NOT NULL AS committed, redacted_at IS NOT NULL AS redacted, key_no,
       message_id, digest, codec, role, name, content, body
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq BETWEEN :first AND :last;

-- name: schema_versions
SELECT version, name, min_reader
FROM holdfast_schema
ORDER BY version;

-- name: record_migration
INSERT INTO holdfast_schema (version, name, min_reader, applied_at)
VALUES (:version, :name, :min_reader, {now});

-- name: take_ticket
UPDATE holdfast_threads
SET next_ticket = next_ticket + 1
WHERE thread_id = :thread_id
RETURNING next_ticket - 1 AS ticket;

-- name: enter_line
INSERT INTO holdfast_leases (thread_id, ticket, owner, purpose, nonce, asked_at, expires_at)
VALUES (:thread_id, :ticket, :owner, :purpose, :nonce, {now}, {now} + :ttl);

-- name: place_in_line
-- The place that somebody has taken already, without knowing it.
SELECT ticket
FROM holdfast_leases
WHERE thread_id = :thread_id AND nonce = :nonce AND expires_at > {now};

-- name: first_in_line
-- The holder of the lease, and the caller that is next.
SELECT ticket, owner, purpose, {now} - coalesce(held_at, asked_at) AS since
FROM holdfast_leases
WHERE thread_id = :thread_id AND expires_at > {now}
ORDER BY ticket
LIMIT 2;

-- name: take_lease
-- Under the thread's lock, as `hold_lease`: somebody with a lower ticket may have come back from an outage.
UPDATE holdfast_leases
SET expires_at = {now} + :ttl, held_at = {now}
WHERE thread_id = :thread_id AND ticket = :ticket AND expires_at > {now}
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_leases AS earlier
    WHERE earlier.thread_id = :thread_id AND earlier.ticket < :ticket AND earlier.expires_at > {now}
  )
RETURNING ticket;

-- name: hold_lease
-- Who has expired keeps its place as long as nobody has taken it. Who takes it has a higher ticket, and removes whatever
-- has expired when he leaves.
UPDATE holdfast_leases
SET expires_at = {now} + :ttl
WHERE thread_id = :thread_id AND ticket = :ticket
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_leases AS later
    WHERE later.thread_id = :thread_id AND later.ticket > :ticket AND later.held_at IS NOT NULL
  )
RETURNING ticket;

-- name: stay_in_line
UPDATE holdfast_leases
SET expires_at = {now} + :ttl
WHERE thread_id = :thread_id AND ticket = :ticket AND expires_at > {now}
RETURNING ticket;

-- name: leave_line
-- By what one asked under, since one may not know one's ticket.
DELETE FROM holdfast_leases
WHERE thread_id = :thread_id AND (nonce = :nonce OR expires_at <= {now});
