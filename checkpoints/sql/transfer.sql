-- Transfer of threads: the parts of a thread, in pages ordered by their key, and the same parts put into another
-- database. The names of columns and parameters are those of the fields in `transfer.records.RECORDS`.

-- name: movable_after
-- Also threads without a checkpoint that have a title, or messages from before a reset.
SELECT thread_id
FROM (
  SELECT thread_id FROM (
    SELECT DISTINCT thread_id FROM checkpoints WHERE thread_id > :after ORDER BY thread_id LIMIT :limit
  ) AS saved
  UNION
  SELECT thread_id FROM (
    SELECT thread_id FROM holdfast_threads
    WHERE thread_id > :after AND deleted_at IS NULL ORDER BY thread_id LIMIT :limit
  ) AS known
) AS every
ORDER BY thread_id
LIMIT :limit;

-- name: count_movable
SELECT count(*) AS number
FROM (
  SELECT thread_id FROM checkpoints
  UNION
  SELECT thread_id FROM holdfast_threads WHERE deleted_at IS NULL
) AS every;

-- name: page_of_thread
SELECT next_seq, user_id, title, metadata, head, unfinished, messages, bytes, prompt, live_from, origin_thread_id,
       origin_checkpoint_id, lineage, created_at, updated_at
FROM holdfast_threads
WHERE thread_id = :thread_id AND deleted_at IS NULL;

-- name: span_of_thread
-- The first and the newest checkpoint of a thread without a row: its times of creation and of the last change.
SELECT min(checkpoint_id) AS first, max(checkpoint_id) AS newest
FROM checkpoints
WHERE thread_id = :thread_id;

-- name: page_of_message
SELECT seq, message_id, digest, codec, role, name, content, body, ns, channel, checkpoint_id, run_id, step, user_id,
       origin_thread_id, origin_seq, created_at, redacted_at, key_no
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq > :seq
ORDER BY seq
LIMIT :limit;

-- name: page_of_event
SELECT no, after_seq, kind, actor, data, at
FROM holdfast_events
WHERE thread_id = :thread_id AND no > :no
ORDER BY no
LIMIT :limit;

-- name: page_of_write
SELECT checkpoint_ns AS ns, checkpoint_id, task_id, idx, task_path, channel, type, {value} AS blob
FROM {writes}
WHERE thread_id = :thread_id AND (checkpoint_ns, checkpoint_id, task_id, idx) > (:ns, :checkpoint_id, :task_id, :idx)
ORDER BY checkpoint_ns, checkpoint_id, task_id, idx
LIMIT :limit;

-- name: page_of_run_write
SELECT checkpoint_ns AS ns, checkpoint_id, task_id, idx, run_id, channel, type, blob, written_at
FROM holdfast_run_writes
WHERE thread_id = :thread_id
  AND (checkpoint_ns, checkpoint_id, task_id, idx, run_id) > (:ns, :checkpoint_id, :task_id, :idx, :run_id)
ORDER BY checkpoint_ns, checkpoint_id, task_id, idx, run_id
LIMIT :limit;

-- name: page_of_interrupt
SELECT interrupt_id, checkpoint_ns AS ns, checkpoint_id, task_id, asked_at, expires_at, answered_at, answered_by,
       answer_type, answer, answer_digest, run_id, closed_at, closed_why
FROM holdfast_interrupts
WHERE thread_id = :thread_id AND interrupt_id > :interrupt_id
ORDER BY interrupt_id
LIMIT :limit;

-- name: page_of_member
SELECT user_id, owner_id, added_at
FROM holdfast_members
WHERE thread_id = :thread_id AND user_id > :user_id
ORDER BY user_id
LIMIT :limit;

-- name: page_of_effect
SELECT lineage, effect_key, thread_id, tool, args_digest, state, attempt, owner, alive_until, why, interrupt_id,
       decision, decided_by, decided_at, result_type, result, run_id, started_at, finished_at
FROM holdfast_effects
WHERE lineage = :lineage AND effect_key > :effect_key
ORDER BY effect_key
LIMIT :limit;

-- name: is_empty
-- Return whether a thread is empty. A lease or a title does not count as content.
SELECT NOT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id)
  AND NOT EXISTS (SELECT 1 FROM {writes} WHERE thread_id = :thread_id)
  AND NOT EXISTS (SELECT 1 FROM holdfast_messages WHERE thread_id = :thread_id)
  AND NOT EXISTS (SELECT 1 FROM holdfast_events WHERE thread_id = :thread_id)
  AND NOT EXISTS (SELECT 1 FROM holdfast_interrupts WHERE thread_id = :thread_id)
  AND NOT EXISTS (SELECT 1 FROM holdfast_run_writes WHERE thread_id = :thread_id) AS is_empty;

-- name: relatives
-- Other threads that share a ledger.
SELECT thread_id
FROM holdfast_threads
WHERE (lineage = :lineage OR (thread_id = :lineage AND lineage IS NULL))
  AND thread_id <> :thread_id AND deleted_at IS NULL
ORDER BY thread_id
LIMIT 1;

-- name: is_stranger
-- Return whether a thread exists here that does not share the ledger.
SELECT EXISTS (
  SELECT 1
  FROM holdfast_threads
  WHERE thread_id = :thread_id AND deleted_at IS NULL AND coalesce(lineage, thread_id) <> :lineage
) AS is_stranger;

-- name: move_thread
-- The new generation makes writers stale that loaded the thread before.
UPDATE holdfast_threads
SET generation = generation + 1, deleted_at = NULL, next_seq = :next_seq, user_id = :user_id, title = :title,
    metadata = :metadata, head = :head, unfinished = :unfinished, messages = :messages, bytes = :bytes,
    prompt = :prompt, live_from = :live_from, origin_thread_id = :origin_thread_id,
    origin_checkpoint_id = :origin_checkpoint_id, lineage = :lineage, created_at = :created_at,
    updated_at = :updated_at
WHERE thread_id = :thread_id;

-- name: move_message
INSERT INTO holdfast_messages (thread_id, seq, message_id, digest, codec, role, name, content, body, ns, channel,
                               checkpoint_id, run_id, step, user_id, origin_thread_id, origin_seq, created_at,
                               redacted_at, key_no)
VALUES (:thread_id, :seq, :message_id, :digest, :codec, :role, :name, :content, :body, :ns, :channel,
        :checkpoint_id, :run_id, :step, :user_id, :origin_thread_id, :origin_seq, :created_at, :redacted_at, :key_no);

-- name: move_event
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, actor, data, at)
VALUES (:thread_id, :no, :after_seq, :kind, :actor, :data, :at);

-- name: move_write
INSERT INTO {writes} (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, {value})
VALUES (:thread_id, :ns, :checkpoint_id, :task_id, :task_path, :idx, :channel, :type, :blob);

-- name: move_run_write
INSERT INTO holdfast_run_writes (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob,
                                 written_at)
VALUES (:run_id, :thread_id, :ns, :checkpoint_id, :task_id, :idx, :channel, :type, :blob, :written_at);

-- name: move_interrupt
INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at, expires_at,
                                 answered_at, answered_by, answer_type, answer, answer_digest, run_id, closed_at,
                                 closed_why)
VALUES (:thread_id, :interrupt_id, :ns, :checkpoint_id, :task_id, :asked_at, :expires_at, :answered_at, :answered_by,
        :answer_type, :answer, :answer_digest, :run_id, :closed_at, :closed_why);

-- name: move_member
INSERT INTO holdfast_members (thread_id, user_id, owner_id, added_at)
VALUES (:thread_id, :user_id, :owner_id, :added_at);

-- name: move_effect
-- Its thread may be another one, if it ran in a copy.
INSERT INTO holdfast_effects (lineage, effect_key, thread_id, tool, args_digest, state, attempt, owner, alive_until,
                              why, interrupt_id, decision, decided_by, decided_at, result_type, result, run_id,
                              started_at, finished_at)
VALUES (:lineage, :effect_key, :thread_id, :tool, :args_digest, :state, :attempt, :owner, :alive_until, :why,
        :interrupt_id, :decision, :decided_by, :decided_at, :result_type, :result, :run_id, :started_at, :finished_at);

-- name: checkpoint_ids
SELECT DISTINCT checkpoint_id
FROM checkpoints
WHERE thread_id = :thread_id
ORDER BY checkpoint_id;

-- name: date_messages
-- Rows that no checkpoint has yet are as old as the newest one.
UPDATE holdfast_messages
SET created_at = :at
WHERE thread_id = :thread_id AND (checkpoint_id = :checkpoint_id OR checkpoint_id IS NULL);

-- name: date_interrupts
UPDATE holdfast_interrupts
SET asked_at = :at
WHERE thread_id = :thread_id AND checkpoint_id = :checkpoint_id;

-- name: date_closing
UPDATE holdfast_interrupts
SET closed_at = :at
WHERE thread_id = :thread_id AND closed_at IS NOT NULL;

-- name: date_run_writes
UPDATE holdfast_run_writes
SET written_at = :at
WHERE thread_id = :thread_id AND checkpoint_id = :checkpoint_id;

-- name: date_thread
UPDATE holdfast_threads
SET created_at = :first, updated_at = :at
WHERE thread_id = :thread_id;
