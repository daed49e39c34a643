-- What pruning, copying and taking back a run need: of our own tables, and what is the same in LangGraph's.

-- name: set_parent
UPDATE checkpoints
SET parent_checkpoint_id = :parent_id
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id;

-- name: newest
SELECT max(checkpoint_id) AS newest
FROM checkpoints
WHERE thread_id = :thread_id AND checkpoint_ns = :ns;

-- name: writes_of_thread
SELECT checkpoint_ns AS ns, checkpoint_id, task_id, idx, channel, type, {value} AS blob
FROM {writes}
WHERE thread_id = :thread_id;

-- name: has_rows
SELECT EXISTS (SELECT 1 FROM holdfast_messages WHERE thread_id = :thread_id) AS has_rows;

-- name: has_checkpoints
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE thread_id = :thread_id) AS has_checkpoints;

-- name: copy_rows
-- The text is copied, not shared: either thread can be redacted or deleted alone.
INSERT INTO holdfast_messages (thread_id, seq, message_id, digest, codec, key_no, role, name, content, body,
                               ns, channel, checkpoint_id, run_id, step, user_id, origin_thread_id, origin_seq,
                               created_at, redacted_at)
SELECT :target, seq, message_id, digest, codec, key_no, role, name, content, body,
       ns, channel, checkpoint_id, run_id, step, user_id, thread_id, seq, created_at, redacted_at
FROM holdfast_messages
WHERE thread_id = :thread_id;

-- name: copy_run_writes
INSERT INTO holdfast_run_writes (run_id, thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob,
                                 written_at)
SELECT run_id, :target, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, written_at
FROM holdfast_run_writes
WHERE thread_id = :thread_id;

-- name: run_writes
-- All of a thread: a later run may have written over what this one wrote.
SELECT run_id, checkpoint_ns AS ns, checkpoint_id, task_id, idx, channel, type, blob
FROM holdfast_run_writes
WHERE thread_id = :thread_id
ORDER BY written_at;

-- name: replaced_by_run
-- What a run's write took the place of is now what another run's write took the place of.
UPDATE holdfast_run_writes
SET channel = :channel, type = :type, blob = :blob
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  AND task_id = :task_id AND idx = :idx AND run_id = :run_id;

-- name: forget_run
DELETE FROM holdfast_run_writes
WHERE thread_id = :thread_id AND run_id = :run_id;

-- name: delete_run_writes
DELETE FROM holdfast_run_writes
WHERE thread_id = :thread_id;

-- name: rows_of_runs
-- Which run said each message first, and in which checkpoint: for those that nothing refers to any more.
SELECT seq, run_id, checkpoint_id
FROM holdfast_messages
WHERE thread_id = :thread_id;

-- name: delete_row
DELETE FROM holdfast_messages
WHERE thread_id = :thread_id AND seq = :seq;

-- name: inherit_row
-- Who said a message first is gone, and another checkpoint has it still: from now on that one said it first.
UPDATE holdfast_messages
SET checkpoint_id = :checkpoint_id, run_id = :run_id
WHERE thread_id = :thread_id AND seq = :seq;

-- name: next_generation
-- Who has loaded the thread before may not write to it any more.
UPDATE holdfast_threads
SET generation = generation + 1, updated_at = {now}
WHERE thread_id = :thread_id;

-- name: copy_thread
-- A target that was deleted lives again; whoever knew it before is refused.
UPDATE holdfast_threads
SET (next_seq, live_from, user_id, title, metadata, head, unfinished, messages, bytes, prompt, origin_checkpoint_id) = (
      SELECT source.next_seq, source.live_from, source.user_id, source.title, source.metadata, source.head,
             source.unfinished, source.messages, source.bytes, source.prompt, source.head
      FROM holdfast_threads AS source
      WHERE source.thread_id = :thread_id
    ),
    origin_thread_id = :thread_id, created_at = {now}, updated_at = {now}, deleted_at = NULL
WHERE thread_id = :target;
