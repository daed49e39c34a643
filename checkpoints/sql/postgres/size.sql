-- The sizes of tables and threads.

-- name: can_measure
SELECT TRUE AS can_measure;

-- name: sizes
-- The parts of a partitioned table count as that table.
SELECT kind, name, of_table, CAST(sum(bytes) AS BIGINT) AS bytes
FROM (
  SELECT 'table' AS kind, whole.relname AS name, whole.relname AS of_table, pg_table_size(parts.oid) AS bytes
  FROM pg_class AS parts
  JOIN pg_class AS whole ON whole.oid = coalesce(pg_partition_root(parts.oid), parts.oid)
  WHERE parts.relkind = 'r'
    AND whole.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('checkpoints'))
  UNION ALL
  SELECT 'index', whole_index.relname, whole.relname, pg_relation_size(parts.indexrelid)
  FROM pg_index AS parts
  JOIN pg_class AS whole_index ON whole_index.oid = coalesce(pg_partition_root(indexrelid), indexrelid)
  JOIN pg_class AS whole ON whole.oid = coalesce(pg_partition_root(indrelid), indrelid)
  WHERE whole.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('checkpoints'))
) AS parts
WHERE starts_with(of_table, 'holdfast_') OR starts_with(of_table, 'checkpoint')
GROUP BY kind, name, of_table
ORDER BY bytes DESC, name;

-- name: whole_size
-- The free space inside the tables is known only to VACUUM.
SELECT CAST(sum(pg_total_relation_size(oid)) AS BIGINT) AS size, CAST(NULL AS BIGINT) AS free
FROM pg_class
WHERE relkind = 'r'
  AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('checkpoints'))
  AND (starts_with(relname, 'holdfast_') OR starts_with(relname, 'checkpoint'));

-- name: counts
SELECT (SELECT count(*) FROM (SELECT DISTINCT thread_id FROM checkpoints) AS every) AS threads,
       (SELECT count(*) FROM checkpoints) AS checkpoints,
       (SELECT count(*) FROM checkpoint_writes) AS writes,
       count(*) AS messages,
       CAST(coalesce(sum(octet_length(content)), 0) AS BIGINT) AS text_bytes
FROM holdfast_messages;

-- name: largest
SELECT thread_id, CAST(sum(checkpoints) AS BIGINT) AS checkpoints, CAST(sum(messages) AS BIGINT) AS messages,
       CAST(sum(bytes) AS BIGINT) AS size
FROM (
  SELECT thread_id, count(*) AS checkpoints, 0 AS messages,
         sum(pg_column_size(checkpoint) + pg_column_size(metadata)) AS bytes
  FROM checkpoints GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, 0, sum(coalesce(pg_column_size(blob), 0)) FROM checkpoint_blobs GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, 0, sum(coalesce(pg_column_size(blob), 0)) FROM checkpoint_writes GROUP BY thread_id
  UNION ALL
  SELECT thread_id, 0, count(*), sum(pg_column_size(body) + coalesce(pg_column_size(content), 0))
  FROM holdfast_messages GROUP BY thread_id
) AS parts
GROUP BY thread_id
ORDER BY size DESC, thread_id
LIMIT :limit;
