-- Long-term memory: the tables of LangGraph's store. A namespace is a prefix, its labels joined by full stops.

-- name: count_items
SELECT count(*) AS items
FROM store;

-- name: count_user_items
-- `under` is the user's label with the full stop that ends it, so that "ada" does not find "adam".
SELECT count(*) AS items
FROM store
WHERE prefix = CAST(:label AS TEXT) OR substr(prefix, 1, length(CAST(:under AS TEXT))) = CAST(:under AS TEXT);

-- name: erase_user_items
DELETE FROM store
WHERE prefix = CAST(:label AS TEXT) OR substr(prefix, 1, length(CAST(:under AS TEXT))) = CAST(:under AS TEXT)
RETURNING key;

-- name: erase_user_vectors
DELETE FROM store_vectors
WHERE prefix = CAST(:label AS TEXT) OR substr(prefix, 1, length(CAST(:under AS TEXT))) = CAST(:under AS TEXT);
