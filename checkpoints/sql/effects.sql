-- The ledger of effects. Each statement that changes a row names the state and the attempt that the caller has seen. If
-- it returns no row, another caller was first.

-- name: claim_effect
-- Only for a call that is in a committed checkpoint and, where a person was asked, only under the answer that the
-- person gave. And not if the thread has gone on with a new message, whose run closes the call. The thread is locked
-- before: else a message that is committed at this moment would not be seen, and its run would not see the claim.
INSERT INTO holdfast_effects (lineage, effect_key, thread_id, tool, args_digest, state, attempt, owner, alive_until,
                              interrupt_id, run_id, started_at)
SELECT coalesce(threads.lineage, threads.thread_id), :effect_key, threads.thread_id, :tool, :args_digest, 'started', 1,
       :owner, {now} + :ttl, CAST(:interrupt_id AS TEXT), CAST(:run_id AS TEXT), {now}
FROM holdfast_threads AS threads
WHERE threads.thread_id = :thread_id AND threads.deleted_at IS NULL
  AND EXISTS (
    SELECT 1
    FROM checkpoints
    WHERE checkpoints.thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
  )
  AND NOT ({has_gone_on})
  AND (
    CAST(:interrupt_id AS TEXT) IS NULL
    OR EXISTS (
      SELECT 1
      FROM holdfast_interrupts AS asked
      WHERE asked.thread_id = :thread_id AND asked.interrupt_id = :interrupt_id AND asked.answered_at IS NOT NULL
        AND asked.answer_digest = :answer_digest
    )
  )
ON CONFLICT (lineage, effect_key) DO NOTHING
RETURNING lineage, effect_key, attempt, owner, thread_id;

-- name: effect
SELECT lineage, effect_key, thread_id, tool, args_digest, state, attempt, owner, alive_until,
       alive_until <= {now} AS is_orphaned, why,
       interrupt_id, started_at, result_type, result
FROM holdfast_effects
WHERE lineage = (SELECT coalesce(lineage, thread_id) FROM holdfast_threads WHERE thread_id = :thread_id)
  AND effect_key = :effect_key;

-- name: effects_in_doubt
-- An effect whose owner is gone is in doubt as well, even before a statement has recorded that.
SELECT lineage, effect_key, thread_id, tool, args_digest, 'in_doubt' AS state, attempt, owner, alive_until,
       TRUE AS is_orphaned, coalesce(why, 'owner') AS why, interrupt_id, started_at, result_type, result
FROM holdfast_effects
WHERE state IN ('started', 'in_doubt') AND (state = 'in_doubt' OR alive_until <= {now})
ORDER BY started_at, lineage, effect_key
LIMIT :limit;

-- name: open_effect
SELECT thread_id
FROM holdfast_effects
WHERE state IN ('started', 'in_doubt')
ORDER BY thread_id
LIMIT 1;

-- name: standing
-- Where the checkpoint of a call stands in its thread.
SELECT EXISTS (
  SELECT 1
  FROM checkpoints
  WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id
) AS is_committed, {has_gone_on} AS has_gone_on;

-- name: beat_effect
UPDATE holdfast_effects
SET alive_until = {now} + :ttl
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt AND owner = :owner AND state = 'started'
RETURNING attempt;

-- name: finish_effect
-- Also when it is in doubt by now: until a person has decided, the process that ran it knows better.
UPDATE holdfast_effects
SET state = :state, result_type = :type, result = :result, finished_at = {now}
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt AND owner = :owner
  AND state IN ('started', 'in_doubt')
RETURNING attempt;

-- name: release_effect
-- For a tool that paused before it did anything: the effect will be claimed again.
DELETE FROM holdfast_effects
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt AND owner = :owner AND state = 'started'
RETURNING attempt;

-- name: doubt_effect
UPDATE holdfast_effects
SET state = 'in_doubt', why = :why
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt AND owner = :owner AND state = 'started'
RETURNING attempt;

-- name: orphan_effect
-- If the claim was not renewed since it was seen: each renewal is seconds later. The time that was seen is cut to
-- microseconds.
UPDATE holdfast_effects
SET state = 'in_doubt', why = 'owner'
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt
  AND alive_until < CAST(:alive_until AS DOUBLE PRECISION) + 0.001
  AND state = 'started' AND alive_until <= {now}
RETURNING attempt;

-- name: rerun_effect
UPDATE holdfast_effects
SET state = 'started', attempt = attempt + 1, owner = :owner, alive_until = {now} + :ttl, thread_id = :thread_id,
    args_digest = :args_digest, interrupt_id = CAST(:interrupt_id AS TEXT), run_id = CAST(:run_id AS TEXT), why = NULL,
    decision = 'run_again', decided_by = CAST(:by AS TEXT), decided_at = {now}, started_at = {now}, finished_at = NULL,
    result_type = NULL, result = NULL
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt AND state = :state AND state <> 'started'
RETURNING lineage, effect_key, attempt, owner, thread_id;

-- name: settle_effect
UPDATE holdfast_effects
SET state = :new_state, result_type = :type, result = :result, finished_at = {now},
    decision = :decision, decided_by = CAST(:by AS TEXT), decided_at = {now}
WHERE lineage = :lineage AND effect_key = :effect_key AND attempt = :attempt AND state = 'in_doubt'
RETURNING attempt;

-- name: join_lineage
UPDATE holdfast_threads
SET lineage = (SELECT coalesce(source.lineage, source.thread_id) FROM holdfast_threads AS source
               WHERE source.thread_id = :thread_id)
WHERE thread_id = :target;

-- name: forget_effects
-- For threads that are deleted. As long as a copy lives, what has run stays on record, so that it does not run again.
DELETE FROM holdfast_effects
WHERE lineage IN (SELECT coalesce(lineage, thread_id) FROM holdfast_threads WHERE thread_id {among_ids})
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_threads AS copies
    WHERE copies.lineage = holdfast_effects.lineage AND copies.deleted_at IS NULL AND NOT copies.thread_id {among_ids}
  )
  AND NOT EXISTS (
    SELECT 1
    FROM holdfast_threads AS first
    WHERE first.thread_id = holdfast_effects.lineage AND first.deleted_at IS NULL AND NOT first.thread_id {among_ids}
  );

-- name: empty_effects
-- Keep the record that something ran, and no word of the conversation.
UPDATE holdfast_effects
SET result_type = NULL, result = NULL, decided_by = NULL
WHERE thread_id {among_ids};

-- name: leave_lineage
UPDATE holdfast_threads
SET lineage = NULL
WHERE thread_id {among_ids};
