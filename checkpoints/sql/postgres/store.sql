-- Long-term memory: the tables of LangGraph's store.

-- name: store_tables
-- A table `store` without its migrations is that of another program.
SELECT to_regclass('store') IS NOT NULL AND to_regclass('store_migrations') IS NOT NULL AS has_items,
       to_regclass('store_vectors') IS NOT NULL AS has_vectors;

-- name: items_after
-- Times are texts in UTC.
SELECT prefix, key, CAST(value AS TEXT) AS value,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS created_at,
       to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS updated_at,
       to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS expires_at,
       CAST(ttl_minutes AS DOUBLE PRECISION) AS ttl_minutes
FROM store
WHERE (prefix, key) > (CAST(:prefix AS TEXT), CAST(:key AS TEXT))
ORDER BY prefix, key
LIMIT :limit;

-- name: item_value
SELECT CAST(value AS TEXT) AS value
FROM store
WHERE prefix = :prefix AND key = :key;

-- name: add_item
INSERT INTO store (prefix, key, value, created_at, updated_at, expires_at, ttl_minutes)
VALUES (:prefix, :key, CAST(CAST(:value AS TEXT) AS JSONB), CAST(CAST(:created_at AS TEXT) || '+00' AS TIMESTAMPTZ),
        CAST(CAST(:updated_at AS TEXT) || '+00' AS TIMESTAMPTZ),
        CAST(CAST(:expires_at AS TEXT) || '+00' AS TIMESTAMPTZ), CAST(:ttl_minutes AS DOUBLE PRECISION))
ON CONFLICT (prefix, key) DO NOTHING;
