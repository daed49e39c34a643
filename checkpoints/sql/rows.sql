-- Message rows.

-- name: load_rows
SELECT seq, ns, channel, checkpoint_id IS NOT NULL AS committed, redacted_at IS NOT NULL AS redacted, key_no,
       message_id, digest, codec, role, name, content, body
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq BETWEEN :first AND :last;

-- name: has_rows
SELECT EXISTS (SELECT 1 FROM holdfast_messages WHERE thread_id = :thread_id) AS has_rows;

-- name: add_row
INSERT INTO holdfast_messages (thread_id, seq, message_id, digest, codec, key_no, role, name, content, body,
                               ns, channel, checkpoint_id, run_id, step, user_id, created_at)
VALUES (:thread_id, :seq, :message_id, :digest, :codec, :key_no, :role, :name, :content, :body,
        :ns, :channel, :checkpoint_id, :run_id, :step, :user_id, {now});

-- name: claim_row
-- A row gets its id, and the first checkpoint that has it, only once.
{claim};

-- name: claim_known_row
-- As `claim_row`, if the row is as it is known: no other save has claimed it. As an id, `''` stands for none.
{claim} AND coalesce(message_id, '') = :was_id
  AND ns = :was_ns AND channel = :was_channel AND (checkpoint_id IS NOT NULL) = :was_committed
RETURNING seq;

-- name: rows_of_thread
-- All rows of a thread, if it has not too many.
SELECT digest, seq, message_id, ns, channel, checkpoint_id IS NOT NULL AS committed, redacted_at IS NOT NULL AS redacted
FROM holdfast_messages
WHERE thread_id = :thread_id AND (SELECT next_seq FROM holdfast_threads WHERE thread_id = :thread_id) <= :most;

-- name: rows_said
-- The rows of a range that are part of the conversation.
SELECT m.seq
FROM holdfast_messages AS m
WHERE m.thread_id = :thread_id AND m.seq BETWEEN :first AND :last AND {said};

-- name: delete_row
DELETE FROM holdfast_messages
WHERE thread_id = :thread_id AND seq = :seq;

-- name: inherit_row
-- The checkpoint that had the message first is gone, and another one still has it: that one becomes the first.
UPDATE holdfast_messages
SET checkpoint_id = :checkpoint_id, run_id = :run_id
WHERE thread_id = :thread_id AND seq = :seq;

-- name: delete_rows
DELETE FROM holdfast_messages
WHERE thread_id {among_ids};

-- name: rows_of_runs
-- The run and the checkpoint that had each message first: to find the rows that nothing refers to any more.
SELECT seq, run_id, checkpoint_id
FROM holdfast_messages
WHERE thread_id = :thread_id;

-- name: written_messages
-- The writes of tasks on checkpoints of the root graph that have messages.
SELECT checkpoint_id, task_id, idx, channel, type, {value} AS blob
FROM {writes}
WHERE thread_id = :thread_id AND checkpoint_ns = '' AND type IN (:type, 'sealed.' || CAST(:type AS TEXT)) AND {where};

-- name: count_written
-- Count the rows of a range that are about to become part of the conversation.
UPDATE holdfast_threads
SET messages = messages + (
      SELECT count(*) FROM holdfast_messages AS m
      WHERE m.thread_id = :thread_id AND m.seq BETWEEN :first AND :last AND NOT ({said})
    )
WHERE thread_id = :thread_id;

-- name: claim_written
-- As `claim_row`, for rows that have their ids already. Rows that are in the state of a checkpoint stay as they are.
UPDATE holdfast_messages
SET ns = :ns, channel = :channel, checkpoint_id = coalesce(checkpoint_id, :checkpoint_id),
    run_id = coalesce(run_id, :run_id), step = coalesce(step, :step), user_id = coalesce(user_id, :user_id)
WHERE thread_id = :thread_id AND seq BETWEEN :first AND :last
  AND NOT (checkpoint_id IS NOT NULL AND ns = '' AND substr(channel, 1, 2) <> '__');

-- name: words_written
-- The words of people in some rows. As `first_words`.
SELECT seq, key_no, digest, codec, content,
       CASE WHEN length(body) < 65536 OR key_no IS NOT NULL THEN body END AS body
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq BETWEEN :first AND :last AND role = 'human'
  AND (content <> '' OR key_no IS NOT NULL)
ORDER BY seq
LIMIT 20;
