-- Updates of the full text index: it holds the rows of a thread up to `searched`, under the user `searched_as`.

-- name: to_index
-- Threads that have new rows, or another user than before.
SELECT thread_id, next_seq - 1 - searched AS number
FROM holdfast_threads
WHERE (searched < next_seq - 1 OR (searched > 0 AND coalesce(searched_as, '') <> coalesce(user_id, ''))) AND {where};

-- name: to_index_after
-- The same, in pages ordered by key.
SELECT thread_id, next_seq - 1 - searched AS number
FROM holdfast_threads
WHERE (searched < next_seq - 1 OR (searched > 0 AND coalesce(searched_as, '') <> coalesce(user_id, '')))
  AND thread_id > :after
ORDER BY thread_id
LIMIT :limit;

-- name: rows_to_index
SELECT CAST(coalesce(sum(next_seq - 1 - searched), 0) AS BIGINT) AS number
FROM holdfast_threads
WHERE searched < next_seq - 1 AND {where};

-- name: index_state
-- For a thread that is locked.
SELECT next_seq - 1 AS last_seq, searched, searched_as, user_id
FROM holdfast_threads
WHERE thread_id = :thread_id;

-- name: texts_to_index
-- An encrypted text is not in this column, and is not searched.
SELECT seq, substr(content, 1, :characters) AS text
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq > :after AND content IS NOT NULL AND content <> ''
ORDER BY seq
LIMIT :limit;

-- name: set_searched
UPDATE holdfast_threads
SET searched = :searched, searched_as = user_id
WHERE thread_id = :thread_id;

-- name: thread_of_user
SELECT TRUE AS is_of_user
FROM holdfast_threads AS t
WHERE t.thread_id = :thread_id AND t.deleted_at IS NULL AND (CAST(:user_id AS TEXT) IS NULL OR {of_user});

-- name: found_rows
SELECT m.message_id, m.role, t.user_id, coalesce(m.user_id, t.user_id) AS said_by, m.created_at,
       substr(m.content, 1, :characters) AS text, t.title,
       -- What a program added says so here, and is short.
       CASE WHEN m.role = 'human' AND length(m.body) < 65536 THEN m.body END AS body
FROM holdfast_messages AS m
JOIN holdfast_threads AS t ON t.thread_id = m.thread_id
WHERE m.thread_id = :thread_id AND m.seq = :seq AND m.content IS NOT NULL;
