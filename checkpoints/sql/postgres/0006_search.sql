-- min reader: 6
-- Full text search. Code that does not know the index would take a thread that was deleted and begun anew for indexed.
ALTER TABLE holdfast_threads ADD COLUMN searched BIGINT NOT NULL DEFAULT 0; -- its rows up to this seq are in the index
ALTER TABLE holdfast_threads ADD COLUMN searched_as TEXT;                   -- under this user

CREATE TABLE holdfast_search (
  thread_id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  at DOUBLE PRECISION NOT NULL,          -- when it was said, so that the newest are known without looking at all
  document TSVECTOR NOT NULL,            -- its words, and whose it is, so that user and word meet inside of the index
  PRIMARY KEY (thread_id, seq),
  -- Deleting a message removes its words from the index.
  FOREIGN KEY (thread_id, seq) REFERENCES holdfast_messages ON DELETE CASCADE);
-- What is new goes into a list first, which halves the time to index it. Every search reads that list, so it is short: KB.
CREATE INDEX holdfast_search_words ON holdfast_search USING gin (document) WITH (gin_pending_list_limit = 512);
