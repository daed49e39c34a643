-- Copies and forks of a thread.

-- name: copy_thread
-- A target that was deleted lives again; a writer that loaded it before is refused.
UPDATE holdfast_threads
SET (next_seq, live_from, user_id, title, metadata, head, unfinished, messages, bytes, prompt, origin_checkpoint_id) = (
      SELECT source.next_seq, source.live_from, source.user_id, source.title, source.metadata, source.head,
             source.unfinished, source.messages, source.bytes, source.prompt, source.head
      FROM holdfast_threads AS source
      WHERE source.thread_id = :thread_id
    ),
    origin_thread_id = :thread_id, created_at = {now}, updated_at = {now}, deleted_at = NULL
WHERE thread_id = :target;

-- name: copy_rows
-- The text is copied, not shared: each thread can be redacted or deleted alone.
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

-- name: copy_interrupts
-- An answer was given for the original: in the copy, a person is asked again.
INSERT INTO holdfast_interrupts (thread_id, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at, expires_at)
SELECT :target, interrupt_id, checkpoint_ns, checkpoint_id, task_id, asked_at, expires_at
FROM holdfast_interrupts
WHERE thread_id = :thread_id AND closed_at IS NULL;

-- name: copy_events
INSERT INTO holdfast_events (thread_id, no, after_seq, kind, actor, data, at)
SELECT :target, no, after_seq, kind, actor, data, at
FROM holdfast_events
WHERE thread_id = :thread_id;

-- name: set_origin
UPDATE holdfast_threads
SET origin_thread_id = CAST(:origin AS TEXT), origin_checkpoint_id = CAST(:checkpoint_id AS TEXT)
WHERE thread_id = :thread_id;

-- name: set_live_from
UPDATE holdfast_threads
SET live_from = next_seq
WHERE thread_id = :thread_id;

-- name: message_place
-- The checkpoint that had a message first.
SELECT m.checkpoint_id
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.message_id = :message_id AND {said}
ORDER BY m.seq DESC
LIMIT 1;

-- name: asked_in
SELECT checkpoint_ns AS ns, checkpoint_id
FROM {writes}
WHERE thread_id = :thread_id AND idx = -3;

-- name: cut_writes
-- Delete what tasks wrote on a checkpoint, but for the requests.
DELETE FROM {writes}
WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id AND idx <> -3;

-- name: cut_events
-- Delete the events after a moment.
DELETE FROM holdfast_events
WHERE thread_id = :thread_id AND at > :at;
