"""The contract tests hold in encrypted databases: `pytest --encrypted` encrypts every database that a test opens."""

from __future__ import annotations

import subprocess
import sys
from itertools import chain
from typing import Final

import pytest

from tests.support.forked import HOUSE

FOLDERS: Final = ("core", "delta", "interrupts", "effects", "conversation", "approvals", "nodes", "tools")

OTHERWISE: Final = (
    "conversation/test_kept_killed.py::test_a_message_that_is_killed_at_any_commit_leaves_the_request_open_under_its_id",
    "conversation/test_manage.py::test_the_prompt_in_force_is_put_on_record_when_it_changes",
    "conversation/test_owners.py::test_a_thread_of_a_stock_saver_belongs_to_the_user_that_its_checkpoints_name",
    "conversation/test_owners.py::test_a_thread_of_a_stock_saver_that_names_no_user_is_the_applications_until_a_run_names_one",
    "conversation/test_said.py::test_the_summary_is_in_the_context_and_not_in_the_history",
    "core/test_at_once.py::test_a_row_that_got_an_id_meanwhile_keeps_it",
    "core/test_at_once_against_others.py::test_a_message_that_a_save_holds_in_two_channels_is_said_once",
    "core/test_at_once_against_others.py::test_a_row_that_a_branch_has_said_meanwhile_is_counted_once",
    "core/test_at_once_against_others.py::test_a_row_that_a_subgraph_has_meanwhile_is_not_said",
    "core/test_at_once_against_others.py::test_a_save_that_fails_before_it_is_sent_leaves_no_row_that_is_known",
    "core/test_at_once_against_others.py::test_a_save_that_follows_one_that_is_not_committed_does_not_build_on_it",
    "core/test_conflicts.py::test_an_id_can_be_used_again_by_a_new_run_and_not_by_one_of_the_deleted_thread",
    "core/test_inputs.py::test_a_channel_of_another_name_is_known_to_make_messages_from_its_second_input_on",
    "core/test_inputs.py::test_an_input_of_a_channel_that_makes_messages_of_it_is_stored_once",
    "core/test_load.py::test_a_damaged_row_is_an_error_that_names_thread_and_row",
    "core/test_load.py::test_a_damaged_row_of_a_pending_write_is_an_error",
    "core/test_load.py::test_a_redacted_row_loads_although_its_digest_differs",
    "core/test_load.py::test_a_truncated_checkpoint_is_an_error_wherever_it_is_cut",
    "core/test_load.py::test_an_unknown_form_of_a_value_is_an_error_that_names_thread_and_checkpoint",
    "delta/test_claim_writes.py::test_a_checkpoint_is_not_saved_over_a_write_that_is_damaged",
    "delta/test_claim_writes.py::test_a_delta_thread_is_forked_undone_and_taken_back_as_a_plain_one",
    "delta/test_claim_writes.py::test_a_write_that_no_checkpoint_is_made_of_is_not_said",
    "delta/test_claim_writes.py::test_earlier_writes_are_said_as_soon_as_the_thread_is_in_the_index",
    "delta/test_claim_writes.py::test_messages_that_tasks_wrote_to_a_delta_channel_are_said_as_with_a_plain_one",
    "effects/test_effects.py::test_when_its_process_is_killed_it_is_in_doubt",
    "interrupts/test_interrupts.py::test_an_answer_says_itself_by_whom_it_is",
    "interrupts/test_interrupts.py::test_of_processes_that_answer_at_once_one_wins_and_the_others_are_told",
    "nodes/test_in_doubt.py::test_a_database_is_not_converted_back_while_a_call_is_in_doubt",
    "tools/test_once.py::test_a_process_that_is_killed_just_after_the_effect_leaves_a_call_in_doubt",
)
"""They read or alter texts by SQL, compare sizes or digests, search, or have a database or a process without keys."""


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_the_contract_holds_in_encrypted_databases() -> None:
    left_out = chain.from_iterable(("--deselect", f"tests/contract/{name}") for name in OTHERWISE)
    folders = [f"tests/contract/{folder}" for folder in FOLDERS]
    words = ["--encrypted", "-q", "-n", "2", "--dist=worksteal", "-p", "no:cacheprovider", "-k", "not postgres"]
    command = [sys.executable, "-m", "pytest", *words, *left_out, *folders]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
