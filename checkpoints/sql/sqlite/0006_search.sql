-- min reader: 6
-- Full text search. Code that does not know the index would take a thread that was deleted and begun anew for indexed.
-- The index itself is made at the first search: five tables of FTS5, which most databases never need.
ALTER TABLE holdfast_threads ADD COLUMN searched BIGINT NOT NULL DEFAULT 0; -- its rows up to this seq are in the index
ALTER TABLE holdfast_threads ADD COLUMN searched_as TEXT;                   -- under this user
