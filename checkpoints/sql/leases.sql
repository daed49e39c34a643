-- The lease of a thread and the queue for it.

-- name: take_ticket
UPDATE holdfast_threads
SET next_ticket = next_ticket + 1
WHERE thread_id = :thread_id
RETURNING next_ticket - 1 AS ticket;

-- name: join_lease_queue
INSERT INTO holdfast_leases (thread_id, ticket, owner, purpose, nonce, asked_at, expires_at)
VALUES (:thread_id, :ticket, :owner, :purpose, :nonce, {now}, {now} + :ttl);

-- name: own_ticket
-- The ticket that a caller has already drawn, when it has not learned the number.
SELECT ticket
FROM holdfast_leases
WHERE thread_id = :thread_id AND nonce = :nonce AND expires_at > {now};

-- name: first_tickets
-- The lease holder, and the next caller in the queue.
SELECT ticket, owner, purpose, {now} - coalesce(held_at, asked_at) AS since
FROM holdfast_leases
WHERE thread_id = :thread_id AND expires_at > {now}
ORDER BY ticket
LIMIT 2;

-- name: take_lease
-- Under the thread's lock, as `hold_lease`: a caller with a lower ticket may have come back from an outage. Return
-- whether the thread has tasks that are left.
UPDATE holdfast_leases
SET expires_at = {now} + :ttl, held_at = {now}
WHERE thread_id = :thread_id AND ticket = :ticket AND expires_at > {now}
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_leases AS earlier
    WHERE earlier.thread_id = :thread_id AND earlier.ticket < :ticket AND earlier.expires_at > {now}
  )
RETURNING (SELECT t.unfinished FROM holdfast_threads AS t WHERE t.thread_id = :thread_id) AS unfinished;

-- name: hold_lease
-- An expired lease holder keeps its place until another caller takes the lease. The new holder has a higher ticket, and
-- deletes expired tickets when it leaves.
UPDATE holdfast_leases
SET expires_at = {now} + :ttl
WHERE thread_id = :thread_id AND ticket = :ticket
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_leases AS later
    WHERE later.thread_id = :thread_id AND later.ticket > :ticket AND later.held_at IS NOT NULL
  )
RETURNING ticket;

-- name: renew_ticket
UPDATE holdfast_leases
SET expires_at = {now} + :ttl
WHERE thread_id = :thread_id AND ticket = :ticket AND expires_at > {now}
RETURNING ticket;

-- name: leave_lease_queue
-- By the nonce, since the caller may not know its ticket.
DELETE FROM holdfast_leases
WHERE thread_id = :thread_id AND (nonce = :nonce OR expires_at <= {now});

-- name: running
SELECT DISTINCT l.thread_id
FROM holdfast_leases AS l
WHERE l.expires_at > {now} AND {where};
