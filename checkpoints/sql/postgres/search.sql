-- Full text search by tsvector and GIN. Words come normalised and quoted, so neither a parser nor a dictionary of the
-- server has a say in what a word is.

-- name: index_rows
INSERT INTO holdfast_search (thread_id, seq, document)
SELECT :thread_id, new.seq, CAST(new.document AS tsvector)
FROM unnest(CAST(:seqs AS BIGINT[]), CAST(:documents AS TEXT[])) AS new (seq, document);

-- name: unindex_thread
DELETE FROM holdfast_search
WHERE thread_id = :thread_id;

-- name: search
-- Ranked are the newest of what was found, by how close together the words are. 1: a long text is divided by the
-- logarithm of its length.
SELECT hits.thread_id, hits.seq, ts_rank_cd(hits.document, CAST(:terms AS tsquery), 1) AS rank
FROM (
  SELECT s.thread_id, s.seq, m.created_at, s.document
  FROM holdfast_search AS s
  JOIN holdfast_messages AS m ON m.thread_id = s.thread_id AND m.seq = s.seq
  JOIN holdfast_threads AS t ON t.thread_id = s.thread_id
  WHERE s.document @@ CAST(:question AS tsquery) AND {said} AND {where}
  ORDER BY m.created_at DESC, s.thread_id DESC, s.seq DESC
  LIMIT :most
) AS hits
ORDER BY rank DESC, hits.created_at DESC, hits.thread_id DESC, hits.seq DESC
LIMIT :limit;
