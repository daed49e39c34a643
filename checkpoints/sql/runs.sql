-- Runs: turns that were accepted, and who carries them out.

-- name: accept_run
-- The thread is locked. Its tickets number the runs; `take_ticket` follows. A worker may have the run from the start.
INSERT INTO holdfast_runs (thread_id, number, run_id, agent, user_id, kind, input_type, input, idempotency_key,
                           request_digest, accepted_at, state, attempts, owner, alive_until, started_at, after_seq)
SELECT t.thread_id, t.next_ticket, CAST(:run_id AS TEXT), CAST(:agent AS TEXT), CAST(:user_id AS TEXT),
       CAST(:kind AS TEXT), CAST(:type AS TEXT), CAST(:blob AS {bytes}), CAST(:key AS TEXT), CAST(:digest AS {bytes}),
       {now}, CASE WHEN CAST(:owner AS TEXT) IS NULL THEN 'accepted' ELSE 'running' END,
       CASE WHEN CAST(:owner AS TEXT) IS NULL THEN 0 ELSE 1 END, CAST(:owner AS TEXT),
       CASE WHEN CAST(:owner AS TEXT) IS NOT NULL THEN {now} + :ttl END,
       CASE WHEN CAST(:owner AS TEXT) IS NOT NULL THEN {now} END,
       CASE WHEN CAST(:owner AS TEXT) IS NOT NULL THEN t.next_seq - 1 END
FROM holdfast_threads AS t
WHERE t.thread_id = :thread_id AND {where}
ON CONFLICT DO NOTHING;

-- name: forget_runs
-- Of one thread. A client that asks for one, or repeats a request under its key, does so soon.
DELETE FROM holdfast_runs
WHERE thread_id = :thread_id AND ended_at < {now} - :age;

-- name: run
-- With the generation of its thread.
SELECT r.*, t.generation
FROM holdfast_runs AS r
LEFT JOIN holdfast_threads AS t ON t.thread_id = r.thread_id
WHERE r.run_id = :run_id;

-- name: run_of_key
SELECT *
FROM holdfast_runs
WHERE thread_id = :thread_id AND idempotency_key = :key AND coalesce(user_id, '') = coalesce(CAST(:user_id AS TEXT), '');

-- name: some_runs
SELECT * FROM holdfast_runs WHERE run_id {among_runs};

-- name: open_runs
SELECT *
FROM holdfast_runs
WHERE state IN ('accepted', 'running')
ORDER BY accepted_at, run_id
LIMIT :limit;

-- name: runs_of_thread
SELECT *
FROM holdfast_runs
WHERE thread_id = :thread_id
ORDER BY number DESC
LIMIT :limit;

-- name: free_runs
-- The runs of a worker that were asked to stop. Then the first open run of each thread, if no living worker has it;
-- oldest first. Code from before this table leaves the runs of a thread that it deletes.
SELECT r.run_id, r.thread_id, CASE WHEN {free} THEN 0 ELSE 1 END AS is_stopped,
       (
         SELECT count(*) FROM holdfast_threads AS t WHERE t.thread_id = r.thread_id AND t.deleted_at > r.accepted_at
       ) AS is_deleted
FROM holdfast_runs AS r
WHERE r.state IN ('accepted', 'running') AND (
    r.agent = :agent AND {free} AND NOT EXISTS (
      SELECT 1 FROM holdfast_runs AS earlier
      WHERE earlier.thread_id = r.thread_id AND earlier.number < r.number AND earlier.state IN ('accepted', 'running')
    )
    OR r.owner = :owner AND r.cancelled_at IS NOT NULL AND NOT {free}
  )
ORDER BY is_stopped DESC, r.accepted_at, r.run_id
LIMIT :limit;

-- name: claim_run
-- The condition is that of `free_runs`: another worker may have claimed it since. Return also the generation of the
-- thread.
UPDATE holdfast_runs AS r
SET state = 'running', attempts = attempts + 1, owner = :owner, alive_until = {now} + :ttl,
    started_at = coalesce(started_at, {now}),
    after_seq = coalesce(after_seq, (
      SELECT t.next_seq - 1 FROM holdfast_threads AS t WHERE t.thread_id = r.thread_id
    ))
WHERE r.run_id = :run_id AND {free} AND {where}
RETURNING *, (SELECT t.generation FROM holdfast_threads AS t WHERE t.thread_id = :thread_id) AS generation;

-- name: take_lease_of_run
-- With the claim of a run that was just accepted, if no other caller is in the queue. The thread is locked. The number
-- of the run is a ticket of the thread.
INSERT INTO holdfast_leases (thread_id, ticket, owner, purpose, nonce, asked_at, expires_at, held_at)
SELECT r.thread_id, r.number, CAST(:process AS TEXT), 'run', r.run_id, {now}, {now} + :ttl, {now}
FROM holdfast_runs AS r
WHERE r.run_id = :run_id AND r.state = 'running' AND r.owner = :owner
  AND NOT EXISTS (
    SELECT 1 FROM holdfast_leases AS held WHERE held.thread_id = r.thread_id AND held.expires_at > {now}
  )
ON CONFLICT DO NOTHING;

-- name: renew_runs
-- SQLite returns true for `cancelled_at IS NOT NULL` here, whatever it is: the table has no rowid.
UPDATE holdfast_runs
SET alive_until = {now} + :ttl
WHERE owner = :owner AND state = 'running' AND run_id {among_runs}
RETURNING run_id, cancelled_at;

-- name: release_run
-- It is not begun anew because its worker died, so this attempt does not count.
UPDATE holdfast_runs
SET state = 'accepted', attempts = attempts - 1, owner = NULL, alive_until = NULL
WHERE run_id = :run_id AND owner = :owner AND attempts = :attempts AND state = 'running'
RETURNING *;

-- name: finish_run
UPDATE holdfast_runs
SET state = :state, ended_at = {now}, alive_until = NULL, input_type = NULL, input = NULL,
    error_type = CAST(:error_type AS TEXT), error = CAST(:error AS TEXT),
    until_seq = (SELECT t.next_seq - 1 FROM holdfast_threads AS t WHERE t.thread_id = holdfast_runs.thread_id)
WHERE run_id = :run_id AND owner = :owner AND attempts = :attempts AND state = 'running'
RETURNING *;

-- name: next_run
SELECT 1 AS waits FROM holdfast_runs WHERE thread_id = :thread_id AND state = 'accepted' LIMIT 1;

-- name: cancel_run
-- One that has begun is stopped by its worker, or by the next one if that is dead.
UPDATE holdfast_runs
SET cancelled_at = coalesce(cancelled_at, {now}),
    error_type = coalesce(CAST(:error_type AS TEXT), error_type),
    ended_at = CASE state WHEN 'accepted' THEN {now} END,
    input_type = CASE state WHEN 'accepted' THEN NULL ELSE input_type END,
    input = CASE state WHEN 'accepted' THEN NULL ELSE input END,
    state = CASE state WHEN 'accepted' THEN 'cancelled' ELSE state END
WHERE run_id = :run_id AND state IN ('accepted', 'running');

-- name: was_sent
-- Whether the message of a run is in its thread. There is no index on the id: the rows since the run began are read.
-- No row: the run was deleted, with its thread or alone.
SELECT EXISTS (
  SELECT 1 FROM holdfast_messages AS m
  WHERE m.thread_id = :thread_id AND m.seq > :after AND m.message_id = :run_id AND {said}
) AS was_sent
FROM holdfast_runs
WHERE run_id = :run_id;

-- name: dead_turns
SELECT l.thread_id, l.ticket, l.owner
FROM holdfast_leases AS l
WHERE l.purpose = :purpose AND {is_dead}
ORDER BY l.expires_at DESC
LIMIT :limit;

-- name: is_dead
SELECT l.ticket
FROM holdfast_leases AS l
WHERE l.thread_id = :thread_id AND l.ticket = :ticket AND {is_dead};

-- name: has_begun
SELECT EXISTS (
  SELECT 1 FROM checkpoints AS own
  WHERE own.thread_id = :thread_id AND own.checkpoint_ns = '' AND {of_run}
) AS has_begun;

-- name: delete_run
DELETE FROM holdfast_runs
WHERE run_id = :run_id;

-- name: delete_runs
DELETE FROM holdfast_runs
WHERE thread_id {among_ids};
