-- Threads and the index of threads.

-- name: lock_thread
-- BEGIN IMMEDIATE has locked the whole database already.
SELECT generation, next_seq, deleted_at IS NOT NULL AS deleted, user_id, title, metadata, head, live_from, prompt
FROM holdfast_threads
WHERE thread_id = :thread_id;
