-- The sizes of tables and threads.

-- name: can_measure
SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'dbstat') AS can_measure;

-- name: sizes
SELECT coalesce(parts.type, 'table') AS kind, pages.name AS name, coalesce(parts.tbl_name, pages.name) AS of_table,
       pages.pgsize AS bytes
FROM dbstat AS pages
LEFT JOIN sqlite_schema AS parts ON parts.name = pages.name
WHERE pages.aggregate = TRUE
ORDER BY pages.pgsize DESC, pages.name;

-- name: whole_size
SELECT page_count * page_size AS size, freelist_count * page_size AS free
FROM pragma_page_count, pragma_page_size, pragma_freelist_count;

-- name: counts
SELECT (SELECT count(*) FROM (SELECT DISTINCT thread_id FROM checkpoints) AS every) AS threads,
       (SELECT count(*) FROM checkpoints) AS checkpoints,
       (SELECT count(*) FROM writes) AS writes,
       count(*) AS messages,
       coalesce(sum(length(CAST(content AS BLOB))), 0) AS text_bytes
FROM holdfast_messages;

-- name: largest
SELECT thread_id, sum(checkpoints) AS checkpoints, sum(messages) AS messages, sum(bytes) AS size
FROM (
  SELECT thread_id, count(*) AS checkpoints, 0 AS messages,
         sum(length(checkpoint) + coalesce(length(metadata), 0)) AS bytes
  FROM checkpoints GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, 0, sum(coalesce(length(value), 0)) FROM writes GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, count(*), sum(length(body) + coalesce(length(CAST(content AS BLOB)), 0))
  FROM holdfast_messages GROUP BY thread_id
) AS parts
GROUP BY thread_id
ORDER BY size DESC, thread_id
LIMIT :limit;
