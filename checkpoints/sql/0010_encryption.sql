-- min reader: 8
-- Encryption. Both tables are empty in a database that is not encrypted. When one is, this migration's own entry in
-- `holdfast_schema` asks for code that knows them.
ALTER TABLE holdfast_threads ADD COLUMN key_no INTEGER;  -- its data key; NULL: the thread is not encrypted

CREATE TABLE holdfast_keys (
  thread_id TEXT PRIMARY KEY,            -- '': the key of the database itself
  key_no INTEGER NOT NULL,               -- by chance, so that a thread that is begun anew has another one
  master_id TEXT NOT NULL,               -- the master key that has wrapped it
  wrapped {bytes} NOT NULL,
  created_at DOUBLE PRECISION NOT NULL){without_rowid};
CREATE INDEX holdfast_keys_master ON holdfast_keys (master_id, thread_id);

CREATE TABLE holdfast_encryption (       -- no row: not encrypted
  one INTEGER PRIMARY KEY CHECK (one = 1),
  state TEXT NOT NULL CHECK (state IN ('converting', 'on')),
  changed_at DOUBLE PRECISION NOT NULL);
