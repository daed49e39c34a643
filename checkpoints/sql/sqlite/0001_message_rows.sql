-- min reader: 1
-- Every message is a row, and a checkpoint is a list of rows.
CREATE TABLE holdfast_schema (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  min_reader INTEGER NOT NULL,           -- the oldest version of the code that can read this schema
  applied_at DOUBLE PRECISION NOT NULL);

CREATE TABLE holdfast_threads (          -- its row is the thread's write lock and its seq counter
  thread_id TEXT PRIMARY KEY,
  generation BIGINT NOT NULL DEFAULT 1,  -- grows when a thread is deleted: refuses late writers
  next_seq BIGINT NOT NULL DEFAULT 1,
  created_at DOUBLE PRECISION NOT NULL,
  updated_at DOUBLE PRECISION NOT NULL,
  deleted_at DOUBLE PRECISION);          -- tombstone: all else is emptied

CREATE TABLE holdfast_messages (
  rid INTEGER PRIMARY KEY,               -- for full text search, which needs an integer key
  thread_id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  message_id TEXT,                       -- NULL until the message has an id; no index, so that filling it in stays cheap
  digest BLOB NOT NULL,                  -- keyed; without id and default values; survives redaction
  codec SMALLINT NOT NULL,               -- how to read content: see messages.py
  key_no INTEGER,                        -- which data key sealed the row; NULL: plain
  role TEXT NOT NULL,
  name TEXT,
  content TEXT,
  body BLOB NOT NULL,
  ns TEXT NOT NULL DEFAULT '',
  channel TEXT NOT NULL,
  checkpoint_id TEXT,                    -- the first that has it; NULL: a pending write only, not yet said
  run_id TEXT,
  step INTEGER,
  origin_thread_id TEXT,                 -- a copy says what it is a copy of
  origin_seq BIGINT,
  created_at DOUBLE PRECISION NOT NULL,
  redacted_at DOUBLE PRECISION,
  UNIQUE (thread_id, seq));
CREATE INDEX holdfast_messages_digest ON holdfast_messages (thread_id, digest);
