-- Encryption: the keys of threads, wrapped by a master key, and what is encrypted.

-- name: encryption_state
SELECT state
FROM holdfast_encryption;

-- name: masters_in_use
-- For each master key that has wrapped a key, the first of these: by the index, however many keys there are.
WITH RECURSIVE found (master_id) AS (
  SELECT min(master_id) FROM holdfast_keys
  UNION ALL
  SELECT (SELECT min(k.master_id) FROM holdfast_keys AS k WHERE k.master_id > found.master_id)
  FROM found
  WHERE found.master_id IS NOT NULL
)
SELECT keys.thread_id, keys.key_no, keys.master_id, keys.wrapped
FROM found
JOIN holdfast_keys AS keys ON keys.master_id = found.master_id
  AND keys.thread_id = (SELECT min(k.thread_id) FROM holdfast_keys AS k WHERE k.master_id = found.master_id)
ORDER BY keys.master_id;

-- name: key_of
SELECT thread_id, key_no, master_id, wrapped
FROM holdfast_keys
WHERE thread_id = :thread_id;

-- name: add_key
INSERT INTO holdfast_keys (thread_id, key_no, master_id, wrapped, created_at)
VALUES (:thread_id, :key_no, :master_id, :wrapped, {now})
ON CONFLICT (thread_id) DO NOTHING
RETURNING key_no;

-- name: any_thread_key
SELECT thread_id, key_no
FROM holdfast_threads
WHERE key_no IS NOT NULL
LIMIT 1;

-- name: delete_keys
DELETE FROM holdfast_keys
WHERE thread_id {among_ids} AND thread_id <> '';

-- name: set_thread_key
UPDATE holdfast_threads
SET key_no = :key_no
WHERE thread_id = :thread_id;

-- name: has_content
-- Return whether there is any thread. A deleted one does not count.
SELECT EXISTS (SELECT 1 FROM checkpoints)
  OR EXISTS (SELECT 1 FROM holdfast_messages)
  OR EXISTS (SELECT 1 FROM holdfast_threads WHERE head IS NOT NULL) AS has_content;

-- name: set_encryption
INSERT INTO holdfast_encryption (one, state, changed_at)
VALUES (1, :state, {now})
ON CONFLICT (one) DO UPDATE
SET state = excluded.state, changed_at = excluded.changed_at;

-- name: ask_for_encryption
-- Older code would take what is encrypted for damage.
UPDATE holdfast_schema
SET min_reader = 10
WHERE version = 10;

-- name: reseal_message
UPDATE holdfast_messages
SET key_no = :key_no, digest = :digest, name = :name, content = :content, body = :body
WHERE thread_id = :thread_id AND seq = :seq;

-- name: reseal_thread
UPDATE holdfast_threads
SET title = CAST(:title AS TEXT), metadata = CAST(:metadata AS TEXT), prompt = :prompt
WHERE thread_id = :thread_id;

-- name: reseal_interrupt
UPDATE holdfast_interrupts
SET answer_type = :answer_type, answer = :answer, answer_digest = :answer_digest
WHERE thread_id = :thread_id AND interrupt_id = :interrupt_id;

-- name: reseal_effect
UPDATE holdfast_effects
SET result_type = :result_type, result = :result, args_digest = :args_digest
WHERE lineage = :lineage AND effect_key = :effect_key;

-- name: reseal_run
UPDATE holdfast_runs
SET input_type = :input_type, input = :input, request_digest = :request_digest, error = :error
WHERE thread_id = :thread_id AND number = :number;

-- name: plain_threads
-- Threads that are not encrypted. Those of the savers of LangGraph may have no row of their own.
SELECT thread_id
FROM (
  SELECT thread_id FROM (
    SELECT t.thread_id FROM holdfast_threads AS t
    WHERE t.thread_id > :after AND t.key_no IS NULL AND t.deleted_at IS NULL
    ORDER BY t.thread_id LIMIT :limit
  ) AS known
  UNION
  SELECT thread_id FROM (
    SELECT DISTINCT c.thread_id
    FROM checkpoints AS c
    LEFT JOIN holdfast_threads AS t ON t.thread_id = c.thread_id
    WHERE c.thread_id > :after AND t.key_no IS NULL
    ORDER BY c.thread_id LIMIT :limit
  ) AS saved
) AS every
ORDER BY thread_id
LIMIT :limit;

-- name: was_encrypted
-- No save of another process goes at once now: it looks at the thread first, and finds its key.
UPDATE holdfast_threads
SET next_seq = next_seq + 1, searched = 0, deleted_at = NULL
WHERE thread_id = :thread_id;

-- name: keys_of_master
-- Those that were wrapped anew are not among them any more.
SELECT thread_id, key_no, master_id, wrapped
FROM holdfast_keys
WHERE master_id = :master_id
ORDER BY thread_id
LIMIT :limit;

-- name: rewrap_key
UPDATE holdfast_keys
SET master_id = :master_id, wrapped = :wrapped
WHERE thread_id = :thread_id AND key_no = :key_no AND master_id = :was_master_id;

-- name: count_keys
SELECT master_id, count(*) AS number
FROM holdfast_keys
GROUP BY master_id
ORDER BY master_id;
