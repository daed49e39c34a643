-- Threads and the index of threads.

-- name: lock_thread
SELECT generation, next_seq, deleted_at IS NOT NULL AS deleted, user_id, title, metadata, head, live_from, prompt,
       key_no, EXISTS (SELECT 1 FROM holdfast_encryption WHERE one = 1 AND state = 'on') AS is_sealed_only
FROM holdfast_threads
WHERE thread_id = :thread_id
FOR UPDATE;
