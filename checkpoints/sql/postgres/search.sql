-- Full text search with tsvector and GIN. Words come normalised and quoted, so that no parser or dictionary of the
-- server decides what a word is.

-- name: index_rows
INSERT INTO holdfast_search (thread_id, seq, at, document)
SELECT m.thread_id, m.seq, m.created_at, CAST(new.document AS tsvector)
FROM unnest(CAST(:seqs AS BIGINT[]), CAST(:documents AS TEXT[])) AS new (seq, document)
JOIN holdfast_messages AS m ON m.thread_id = :thread_id AND m.seq = new.seq;

-- name: unindex_thread
DELETE FROM holdfast_search
WHERE thread_id = :thread_id;

-- name: search
-- Rank the newest of the rows that were found, by the distance of the words. 1: the rank of a long text is divided by
-- the logarithm of its length. OFFSET 0 keeps the order of work: the rows are sorted by time first, and only those that
-- are ranked are looked up; the planner, whose estimate is too low, would look up all of them (three times as long).
SELECT hits.thread_id, hits.seq, ts_rank_cd(ranked.document, CAST(:terms AS tsquery), 1) AS rank
FROM (
  SELECT s.thread_id, s.seq, s.at
  FROM (
    SELECT thread_id, seq, at
    FROM holdfast_search
    WHERE document @@ CAST(:query AS tsquery)
    ORDER BY at DESC, thread_id DESC, seq DESC
    OFFSET 0
  ) AS s
  CROSS JOIN LATERAL (
    SELECT TRUE
    FROM holdfast_messages AS m
    JOIN holdfast_threads AS t ON t.thread_id = m.thread_id
    WHERE m.thread_id = s.thread_id AND m.seq = s.seq AND {said} AND {where}
    OFFSET 0
  ) AS was_said
  ORDER BY s.at DESC, s.thread_id DESC, s.seq DESC
  LIMIT :most
) AS hits
JOIN holdfast_search AS ranked ON ranked.thread_id = hits.thread_id AND ranked.seq = hits.seq
ORDER BY rank DESC, hits.at DESC, hits.thread_id DESC, hits.seq DESC
LIMIT :limit;
