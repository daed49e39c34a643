-- Long-term memory: the tables of LangGraph's store.

-- name: store_tables
-- A table `store` without its migrations is that of another program.
SELECT count(*) FILTER (WHERE name <> 'store_vectors') = 2 AS has_items,
       count(*) FILTER (WHERE name = 'store_vectors') = 1 AS has_vectors
FROM sqlite_schema
WHERE type = 'table' AND name IN ('store', 'store_migrations', 'store_vectors');

-- name: items_after
-- Times are texts in UTC; the store writes some with an offset. Its values are JSON, as bytes.
SELECT prefix, key, CAST(value AS TEXT) AS value,
       strftime('%Y-%m-%d %H:%M:%f', created_at) AS created_at,
       strftime('%Y-%m-%d %H:%M:%f', updated_at) AS updated_at,
       strftime('%Y-%m-%d %H:%M:%f', expires_at) AS expires_at,
       ttl_minutes
FROM store
WHERE (prefix, key) > (:prefix, :key)
ORDER BY prefix, key
LIMIT :limit;

-- name: item_value
SELECT CAST(value AS TEXT) AS value
FROM store
WHERE prefix = :prefix AND key = :key;

-- name: add_item
INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
VALUES (:prefix, :key, CAST(:value AS BLOB), :created_at, :updated_at, :expires_at, :ttl_minutes)
ON CONFLICT (prefix, key) DO NOTHING;
