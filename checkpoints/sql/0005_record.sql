-- min reader: 5
-- The record: which threads there are, whose they are, and what happened in them besides what was said. Code that does
-- not know these would leave the index of threads wrong.
ALTER TABLE holdfast_threads ADD COLUMN user_id TEXT;  -- who began it; NULL if unknown
ALTER TABLE holdfast_threads ADD COLUMN title TEXT;    -- given, or the first words that a person said
ALTER TABLE holdfast_threads ADD COLUMN metadata TEXT; -- JSON: what its runs were given besides, the last of each key
ALTER TABLE holdfast_threads ADD COLUMN head TEXT;     -- its newest root checkpoint; NULL: it is not in the index
ALTER TABLE holdfast_threads ADD COLUMN unfinished INTEGER NOT NULL DEFAULT 0; -- 1: the head has tasks that are to be done
ALTER TABLE holdfast_threads ADD COLUMN messages BIGINT NOT NULL DEFAULT 0;    -- that were said
ALTER TABLE holdfast_threads ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;       -- of its message rows, text and body
ALTER TABLE holdfast_threads ADD COLUMN prompt {bytes};                          -- digest of the system prompt in force
ALTER TABLE holdfast_threads ADD COLUMN live_from BIGINT NOT NULL DEFAULT 1;   -- restart: what is said again from here on is new
ALTER TABLE holdfast_threads ADD COLUMN origin_thread_id TEXT;                 -- of a copy or a fork
ALTER TABLE holdfast_threads ADD COLUMN origin_checkpoint_id TEXT;
CREATE INDEX holdfast_threads_user ON holdfast_threads (user_id, updated_at DESC, thread_id DESC)
  WHERE head IS NOT NULL;
CREATE INDEX holdfast_threads_newest ON holdfast_threads (updated_at DESC, thread_id DESC) WHERE head IS NOT NULL;

ALTER TABLE holdfast_messages ADD COLUMN user_id TEXT; -- in whose run it was said; NULL: in one of the thread's own user

CREATE TABLE holdfast_events (           -- what happened besides: prompts in force, restarts, undone turns
  thread_id TEXT NOT NULL,
  no BIGINT NOT NULL,
  after_seq BIGINT NOT NULL,             -- where it belongs among the messages
  kind TEXT NOT NULL,
  actor TEXT,
  data TEXT,                             -- JSON
  at DOUBLE PRECISION NOT NULL,
  PRIMARY KEY (thread_id, no)){without_rowid};

-- What was said, for readers who know SQL.
CREATE VIEW holdfast_transcript AS
SELECT coalesce(m.user_id, t.user_id) AS user_id, m.thread_id, m.role, m.content,
       {said_at} AS created_at, m.seq, m.message_id, m.name, m.run_id
FROM holdfast_messages AS m
JOIN holdfast_threads AS t ON t.thread_id = m.thread_id
WHERE {said};
