-- Full text search with FTS5 (https://www.sqlite.org/fts5.html). The index holds the normalised words, so that a row
-- can be removed exactly, whatever has become of its text, and ranked without normalising the text again.

-- name: search_state
-- Return whether this SQLite has FTS5, and whether the index exists.
SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'fts5') AS has_fts5,
       EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'holdfast_search') AS is_made;

-- name: make_search
-- The words come normalised. The tokenizer `ascii` leaves them as they are, also letters that SQLite does not know yet.
CREATE VIRTUAL TABLE holdfast_search USING fts5 (words, owner, tokenize = 'ascii');

-- name: make_forgetting
-- Deleting a message removes its words from the index, before its rid is used again.
CREATE TRIGGER holdfast_search_forgets AFTER DELETE ON holdfast_messages BEGIN
  DELETE FROM holdfast_search WHERE rowid = old.rid;
END;

-- name: forgets_at_once
-- Return whether deleted words leave the tables of the index at once.
SELECT EXISTS (SELECT 1 FROM holdfast_search_config WHERE k = 'secure-delete' AND v = 1) AS forgets;

-- name: forget_at_once
INSERT INTO holdfast_search (holdfast_search, rank)
VALUES ('secure-delete', 1);

-- name: merge_search
-- Rewrite the index: deleted words are only marked as deleted until then.
INSERT INTO holdfast_search (holdfast_search)
VALUES ('optimize');

-- name: index_row
INSERT INTO holdfast_search (rowid, words, owner)
SELECT rid, :words, :owner
FROM holdfast_messages
WHERE thread_id = :thread_id AND seq = :seq;

-- name: unindex_thread
DELETE FROM holdfast_search
WHERE rowid IN (SELECT rid FROM holdfast_messages WHERE thread_id = :thread_id);

-- name: search
-- CROSS JOIN keeps the order: the index returns the newest rows first, and only as many as are ranked. FTS5's own bm25
-- reads all rows of the database that have one of the words, 70 ms and more for a word that is in most of a million.
SELECT hits.thread_id, hits.seq, hits.rank
FROM (
  SELECT m.thread_id, m.seq, m.created_at, s.rowid AS rid, holdfast_rank(s.words, :terms) AS rank
  FROM holdfast_search AS s
  CROSS JOIN holdfast_messages AS m ON m.rid = s.rowid
  CROSS JOIN holdfast_threads AS t ON t.thread_id = m.thread_id
  WHERE holdfast_search MATCH :query AND {said} AND {where}
  ORDER BY s.rowid DESC
  LIMIT :most
) AS hits
ORDER BY hits.rank DESC, hits.created_at DESC, hits.rid DESC
LIMIT :limit;
