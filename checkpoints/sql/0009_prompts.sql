-- min reader: 8
-- The system prompts in force are part of the conversation for readers who know SQL, each after the message it follows.
DROP VIEW IF EXISTS holdfast_transcript;
CREATE VIEW holdfast_transcript AS
SELECT coalesce(m.user_id, t.user_id) AS user_id, m.thread_id, m.role, m.content,
       {said_at} AS created_at, m.seq, m.message_id, m.name, m.run_id
FROM holdfast_messages AS m
JOIN holdfast_threads AS t ON t.thread_id = m.thread_id
WHERE {said}
UNION ALL
SELECT t.user_id, e.thread_id, 'system', {prompt_text}, {happened_at}, e.after_seq, NULL, NULL, NULL
FROM holdfast_events AS e
JOIN holdfast_threads AS t ON t.thread_id = e.thread_id
WHERE e.kind = 'prompt';
