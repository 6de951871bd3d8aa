"""The tests are tested: take each guard out of a copy of omsfab, and a test must go red.

``scripts/mutate --list`` prints the table and takes nothing out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

DB = "tests/wire/test_metadb.py::test_"
JOB = "tests/wire/test_job.py::test_"
SSH = "tests/wire/test_ssh.py::test_"
SEND = "tests/wire/test_send.py::test_"
RELAY = "tests/wire/test_relay.py::test_"
OPENSSH = "tests/wire/test_openssh.py::test_"
RUN = "tests/unit/test_runner.py::test_"
BACK = "tests/unit/test_undo_runs.py::test_"


@dataclass(frozen=True)
class Guard:
    """``old`` stands once in ``file``; with ``new`` in its place ``test`` fails."""

    name: str
    file: str
    old: str
    new: str
    test: str


GUARDS = (
    Guard(
        "only what begins an image of the node is left out of a package",
        "omsfab/fleet/layers.py",
        "if layer.diff_id != id:",
        "if False:",
        "tests/unit/test_layers.py::test_what_begins_an_image_that_is_there_may_be_left_out",
    ),
    Guard(
        "a file that a further layer needs is not left out",
        "omsfab/fleet/layers.py",
        "layers[:common] if layer.member not in above}",
        "layers[:common]}",
        "tests/unit/test_layers.py::test_a_file_that_serves_a_layer_further_up_stays",
    ),
    Guard(
        "a package without layers is made of the planned one alone",
        "omsfab/fleet/layers.py",
        "if reading.digest.hexdigest() != sha256:",
        "if False:",
        "tests/unit/test_layers.py::test_another_package_than_the_planned_makes_none",
    ),
    Guard(
        "a package without layers fills no disk of the jump host",
        "omsfab/fleet/layers.py",
        "free >= needed + SPARE",
        "free >= needed",
        "tests/unit/test_layers.py::test_a_full_disk_gets_no_further_file",
    ),
    Guard(
        "a package that docker does not take without its layers follows whole",
        "omsfab/run/engine/packages.py",
        "if shell.run(docker.load(effect.dest, effect.image)).status == 0:",
        "if True:",
        "tests/lab/test_layers.py::test_an_engine_that_has_lost_the_layer_gets_the_whole",
    ),
    Guard(
        "the system's ssh trusts no other host key than omsfab does",
        "omsfab/ssh/openssh.py",
        '"StrictHostKeyChecking": "yes"',
        '"StrictHostKeyChecking": "no"',
        f"{OPENSSH}a_host_key_that_is_not_known_is_refused",
    ),
    Guard(
        "the system's ssh is given nothing before the command has begun",
        "omsfab/ssh/openssh.py",
        "yield running if running.begins() else None",
        "yield running",
        f"{OPENSSH}where_it_does_not_get_there_the_package_goes_as_ever[exit 255]",
    ),
    Guard(
        "an ssh that was killed is a line that was lost",
        "omsfab/ssh/openssh.py",
        "told = self._ended() and 0 <= status < LOST",
        "told = self._ended()",
        f"{OPENSSH}one_that_dies_in_the_midst_is_a_lost_line",
    ),
    Guard(
        "a node that passes a file on shows a host key that is known",
        "omsfab/commands/scripts/relay_pull.sh",
        "-o StrictHostKeyChecking=yes",
        "-o StrictHostKeyChecking=no",
        f"{RELAY}a_node_that_shows_another_host_key_is_not_believed",
    ),
    Guard(
        "the key between nodes is good for one file alone",
        "omsfab/commands/scripts/relay_offer.sh",
        'restrict,command="exec sh %s/read %s %s" %s\\n\' "$place" "$place" "$size" "$key"',
        '%s\\n\' "$key"',
        f"{RELAY}the_key_is_good_for_nothing_else",
    ),
    Guard(
        "what passes a file on is gone with the session",
        "omsfab/commands/scripts/relay_offer.sh",
        "trap over EXIT; ",
        "",
        f"{RELAY}a_jump_host_that_dies_leaves_nothing_on_the_node",
    ),
    Guard(
        "an offer cuts no transfer that is under way",
        "omsfab/ssh/shell.py",
        "channel = self._connected().open_session()",
        "channel = self._session()",
        f"{RELAY}an_sshd_that_gives_one_session_is_left_alone",
    ),
    Guard(
        "what acts is not run again where its answer is lost",
        "omsfab/ssh/shell.py",
        "if not cmd.asks or cmd.stdin is not None:",
        "if cmd.stdin is not None:",
        f"{SSH}questions_share_a_session_and_what_acts_has_its_own",
    ),
    Guard(
        "a session whose question is not over takes no other",
        "omsfab/ssh/shell.py",
        "if whole and _open(channel) and len(self._idle) < KEPT:",
        "if _open(channel) and len(self._idle) < KEPT:",
        f"{SSH}a_silent_question_is_answered_to_nobody_else",
    ),
    Guard(
        "sessions that wait give way where sshd allows few",
        "omsfab/ssh/shell.py",
        "                for channel in idle:\n                    channel.close()\n",
        "",
        f"{SSH}where_sshd_allows_one_session_a_waiting_one_gives_way",
    ),
    Guard(
        "the end of an effect is on the disk before the next",
        "omsfab/run/record/journal.py",
        "return event.kind in FLUSHED and not asked",
        'return event.kind in FLUSHED and event.kind not in ("done", "failed")',
        f"{RUN}the_ends_of_questions_go_to_the_disk_with_the_next_effect",
    ),
    Guard(
        "the first node of a region is initialised alone",
        "omsfab/plan/procedures/scale_out.py",
        "if len(new) < len(region.nodes):\n        return",
        "if True:\n        return",
        "tests/unit/test_plans.py::test_new_nodes_are_initialised_as_many_at_a_time_as_hosts_yaml_says",
    ),
    Guard(
        "a run that has not ended keeps what it needs to go back",
        "omsfab/cli/forget.py",
        "if run.past.events and not run.past.ended:",
        "if not run.past.events:",
        "tests/unit/test_forget.py::test_a_run_here_that_has_not_ended_refuses",
    ),
    Guard(
        "of another jump host, too: the copy on a node says so",
        "omsfab/cli/forget.py",
        "if not copy.end and copy.run not in ended:",
        "if not copy.run:",
        "tests/unit/test_forget.py::test_a_run_of_another_jump_host_that_has_not_ended_refuses",
    ),
    Guard(
        "tables that another OMS uses are not dropped",
        "omsfab/metadb/own.py",
        "return not self.others",
        "return True",
        "tests/wire/test_metadb_own.py::test_in_a_schema_that_others_use_only_our_rows_go",
    ),
    Guard(
        "who has lost the lock drops no table",
        "omsfab/metadb/own.py",
        "                leases.fenced(link, lease)\n",
        "",
        "tests/wire/test_metadb_own.py::test_who_has_lost_the_lock_removes_nothing",
    ),
    Guard(
        "an OMS in a container of another name is no absent one",
        "omsfab/plan/procedures/refusals.py",
        '== "absent" and facts.others',
        '== "absent" and not facts.others',
        "tests/unit/test_adoption.py::test_an_oms_of_another_name_is_no_absent_one",
    ),
    Guard(
        "what is discovered overwrites no file unasked",
        "omsfab/cli/adopt.py",
        "        if not force:",
        "        if not file:",
        "tests/lab/test_discover.py::test_a_file_that_is_there_is_kept",
    ),
    Guard(
        "rows deleted are counted against rows saved",
        "omsfab/metadb/rows.py",
        "if deleted != saved:",
        "if False:",
        f"{DB}a_late_row_is_not_lost",
    ),
    Guard(
        "the fence: the token of the lease, under its lock",
        "omsfab/metadb/rows.py",
        "    leases.fenced(link, work.lease)",
        "    pass",
        f"{DB}a_holder_that_wakes_after_a_takeover_changes_nothing",
    ),
    Guard(
        "the backup is read back and compared before the delete",
        "omsfab/metadb/backup.py",
        "if load(lines) != backup:",
        "if False:",
        f"{DB}a_bad_backup_deletes_nothing",
    ),
    Guard(
        "the backup is copied to a second machine before the delete",
        "omsfab/metadb/rows.py",
        "        mirror(path)\n",
        "        pass\n",
        f"{DB}a_failed_copy_deletes_nothing",
    ),
    Guard(
        "the outcome is read from the marker, not from the client's error",
        "omsfab/metadb/rows.py",
        "        if _marker(link, work) is not None:\n            return True,",
        "        if False:\n            return True,",
        f"{DB}a_cut_line_never_lies",
    ),
    Guard(
        "restored rows are compared byte by byte",
        "omsfab/metadb/rows.py",
        "    if files.digest(again) != files.digest(saved):",
        "    if False:",
        f"{DB}a_restore_that_would_alter_a_value_is_rolled_back",
    ),
    Guard(
        "the scope: only this region's rows",
        "omsfab/metadb/scope.py",
        "return _where(link, table, seen, location, regions)",
        'return "1 = 1", ""',
        f"{DB}only_this_regions_rows_go",
    ),
    Guard(
        "rows that were not shown are not deleted",
        "omsfab/metadb/rows.py",
        "if then and (lines := identity.changed(then, now)):",
        "if False and (lines := []):",
        f"{DB}rows_that_were_not_shown_are_not_deleted",
    ),
    Guard(
        "nobody writes rows while they are deleted",
        "omsfab/metadb/rows.py",
        "if moved := identity.changed(identity.shown(before.tables), identity.shown(now.tables)):",
        "if moved := list[str]():",
        f"{DB}rows_that_move_between_two_looks_are_being_written",
    ),
    Guard(
        "a row is the region's or another's, whatever moves between look and lock",
        "omsfab/metadb/scope.py",
        "if rows == scope.mine and scope.rows:",
        "if scope.rows:",
        f"{DB}a_row_that_moves_between_look_and_lock_is_saved_once",
    ),
    Guard(
        "columns are asked anew, in the transaction too",
        "omsfab/metadb/connection.py",
        "self.tables: dict[tuple[str, str], Any] = {}",
        "self.tables = server.rest.setdefault('tables', {})",
        f"{DB}a_table_that_was_altered_or_dropped_since_the_plan_is_seen_as_it_is",
    ),
    Guard(
        "a session that was set otherwise is used by nobody else",
        "omsfab/metadb/connection.py",
        "if self._altered or self.in_transaction",
        "if self.in_transaction",
        f"{DB}a_session_that_was_set_otherwise_is_not_used_again",
    ),
    Guard(
        "nothing is said twice but the first statement of a connection that rested",
        "omsfab/metadb/connection.py",
        "if not (rested and lost(exc)):",
        "if not lost(exc):",
        f"{DB}a_cut_line_never_lies",
    ),
    Guard(
        "rows are quiet before docker_init.sh runs",
        "omsfab/metadb/rows.py",
        "if came := identity.changed(expected, _remains(link, backup)):",
        "if came := list[str]():",
        f"{DB}rows_that_came_back_keep_docker_init_from_running",
    ),
    Guard(
        "keys that would refuse the delete are refused before the outage",
        "omsfab/plan/procedures/refusals.py",
        "held = [one for one in present.references if one.holds]",
        "held = list(present.references[:0])",
        "tests/unit/test_plans.py::test_a_key_that_would_refuse_the_delete_is_refused_before",
    ),
    Guard(
        "what a step needs elsewhere is asked right before it",
        "omsfab/run/engine/runner.py",
        "for node, probe in step.needs:",
        "for node, probe in ():",
        f"{RUN}what_a_step_needs_elsewhere_is_asked_right_before_it",
    ),
    Guard(
        "programs are stopped again before rows go",
        "omsfab/run/engine/runner.py",
        "if step.until and step.until not in past.done:",
        "if False:",
        f"{RUN}what_must_hold_until_a_step_is_asked_again_until_it_is_done",
    ),
    Guard(
        "a table that no rollback brings back is refused",
        "omsfab/metadb/scope.py",
        "elif found.engine.lower() not in engines:",
        "elif False:",
        f"{DB}what_no_rollback_brings_back_is_refused",
    ),
    Guard(
        "rows are saved before a node that joins writes any",
        "omsfab/plan/procedures/scale_out.py",
        '            *((Stage("back up the rows of MetaDB", (steps.save_rows(region),)),) if new else ()),\n',
        "",
        "tests/unit/test_undo.py::test_rows_are_saved_before_a_new_node_may_write_any",
    ),
    Guard(
        "a host row that was there before stays",
        "omsfab/metadb/rows.py",
        "for ip in ips if ip not in _addresses(before)]",
        "for ip in ips]",
        f"{DB}hosts_that_joined_go_and_those_that_were_there_stay",
    ),
    Guard(
        "only this region's host rows go",
        "omsfab/metadb/rows.py",
        'where = f"({host.where}) and (',
        'where = f"(',
        f"{DB}a_host_of_another_region_is_never_dropped",
    ),
    Guard(
        "after a rollback, rows are compared with those saved",
        "omsfab/metadb/rows.py",
        "    if before == after:\n        return []\n",
        "    return []\n",
        f"{DB}rows_are_as_saved_but_for_times_and_status",
    ),
    Guard(
        "tables that were not there count as empty",
        "omsfab/metadb/client.py",
        "absent=scopes.TABLES if record.saved else (),",
        "absent=(),",
        f"{DB}a_fresh_metadb_is_brought_back_to_no_rows",
    ),
    Guard(
        "a lease to be broken has lain still",
        "omsfab/metadb/lease.py",
        "wait(max(0.0, still - held.idle) + watch)",
        "wait(watch)",
        f"{DB}a_lease_must_lie_still_for_twice_its_life",
    ),
    Guard(
        "a run that had failed and is rolled back is no success",
        "omsfab/run/record/journal.py",
        """any(end.outcome == "done" for end in self.ends)""",
        "any(self.ends)",
        f"{RUN}a_run_that_was_taken_back_or_given_up_did_not_end_well",
    ),
    Guard(
        "an unfinished run's copy is never removed",
        "omsfab/run/record/replica.py",
        "if copy.end)",
        ")",
        "tests/unit/test_node_scripts.py::test_a_node_keeps_the_newest_copies_of_ended_runs_and_all_others",
    ),
    Guard(
        "a node writes no file here but those of a run",
        "omsfab/run/record/replica.py",
        "if not _FILE.fullmatch(name):",
        "if False:",
        "tests/unit/test_mirror.py::test_a_node_writes_no_file_here_but_those_of_a_run",
    ),
    Guard(
        "an expired lease of another is not stolen",
        "omsfab/metadb/lease.py",
        "if one.run_id and not _mine(one, run_id, owner):",
        "if one.live and not _mine(one, run_id, owner):",
        f"{DB}an_expired_lock_of_another_is_not_stolen",
    ),
    Guard(
        "the claim: an attempt runs once, however often it is started",
        "omsfab/commands/scripts/init_wrapper.sh",
        '[ -d claim ] && refuse "this attempt was started before"\n',
        "rmdir claim 2>/dev/null\n",
        f"{JOB}a_finished_attempt_is_never_started_again",
    ),
    Guard(
        "the lock in the container: no two initialisations at once",
        "omsfab/commands/scripts/init_wrapper.sh",
        "  flock -n 9 || locked_out\n",
        "  true\n",
        f"{JOB}the_lock_in_the_container_is_respected",
    ),
    Guard(
        "the process scan: an init by hand locks ours out",
        "omsfab/commands/scripts/init_wrapper.sh",
        '[ -z "$other" ] || refuse "$other"\n',
        "true\n",
        f"{JOB}an_init_by_hand_locks_ours_out",
    ),
    Guard(
        "the acknowledgement: a start counts once its claim is read back",
        "omsfab/run/engine/init_job.py",
        "                if seen.age is not None:\n",
        "                if True:\n",
        f"{JOB}an_init_by_hand_locks_ours_out",
    ),
    Guard(
        "the banner counts as a whole line only",
        "omsfab/run/engine/init_output.py",
        "return _is_prefix(before.rstrip()) and bool(SUFFIX.fullmatch(after))",
        "return True",
        "tests/unit/test_job_verdict.py::test_only_the_whole_line_is_the_banner",
    ),
    Guard(
        "exit status 0 alone is no success",
        "omsfab/run/engine/init_output.py",
        "    if proof:\n",
        "    if proof or status == 0:\n",
        "tests/unit/test_job_verdict.py::test_exit_0_without_banner_is_a_mismatch",
    ),
    Guard(
        "an unknown host key is refused",
        "omsfab/ssh/dialer.py",
        "self._host_keys.check(target, transport.get_remote_server_key())",
        "pass",
        f"{SSH}an_unknown_host_key_is_refused",
    ),
    Guard(
        "a changed host key is refused",
        "omsfab/ssh/host_keys.py",
        "if key.asbytes() not in {one.asbytes() for one in ours}:",
        "if False:",
        f"{SSH}a_changed_host_key_is_refused_with_both_fingerprints",
    ),
    Guard(
        "a revoked host key is refused",
        "omsfab/ssh/host_keys.py",
        "if key.asbytes() in known.revoked:",
        "if False:",
        f"{SSH}a_revoked_host_key_is_refused",
    ),
    Guard(
        "no setting of OpenSSH skips the host key",
        "omsfab/ssh/target.py",
        "if not path.is_char_device()",
        "if path",
        "tests/unit/test_ssh_config.py::test_no_setting_of_openssh_switches_the_check_off",
    ),
    Guard(
        "what is no file is never replaced by a known_hosts file",
        "omsfab/ssh/host_keys.py",
        "if real.exists() and not real.is_file():",
        "if False:",
        f"{SSH}what_is_no_file_is_never_replaced_by_a_known_hosts_file",
    ),
    Guard(
        "a hop is not reached through itself",
        "omsfab/ssh/dialer.py",
        "if name in inside:",
        "if False:",
        "tests/unit/test_ssh_config.py::test_gateways_that_lead_in_a_circle_are_refused",
    ),
    Guard(
        "sudo never asks",
        "omsfab/command.py",
        '    prefix = ("sudo", "-n", "--") if sudo else ()\n    return wire(',
        '    prefix = ("sudo", "--") if sudo else ()\n    return wire(',
        "tests/unit/test_command.py::test_sudo_never_asks",
    ),
    Guard(
        "what arrived has the digest that was planned",
        "omsfab/ssh/transfer.py",
        "        if there == whole:",
        "        if True:",
        f"{SEND}a_changed_source_is_not_passed_off_as_the_planned_one",
    ),
    Guard(
        "a small file takes its name only with the digest that was planned",
        "omsfab/commands/scripts/put_whole.sh",
        'if [ "$is" = "$sha256" ]; then',
        "if true; then",
        f"{SEND}a_small_file_that_arrives_otherwise_again_is_refused",
    ),
    Guard(
        "the end of what writes a part is asked",
        "omsfab/commands/scripts/append.sh",
        'wait "$writer"; status=$?',
        "status=0",
        f"{SEND}a_writer_that_is_killed_has_not_written_the_file",
    ),
    Guard(
        "docker load comes to the end of no package but the planned one",
        "omsfab/commands/scripts/append.sh",
        '[ "$status $there" = "0 $sha256 $size" ]; }',
        "true; }",
        f"{SEND}a_reader_does_not_come_to_the_end_of_another_package",
    ),
    Guard(
        "the last bytes are kept back from docker load until all is proven",
        "omsfab/commands/scripts/append.sh",
        "early=$((size > 4194304 ? size - 4194304 : 0))",
        "early=$size",
        f"{SEND}a_reader_does_not_come_to_the_end_of_another_package",
    ),
    Guard(
        "a load that goes on behind the last byte is no silence",
        "omsfab/commands/scripts/append.sh",
        "while sleep 1 >&-; do echo; done",
        "true",
        f"{SEND}a_reader_may_take_its_time_at_the_end",
    ),
    Guard(
        "a part is continued only if it is a true beginning",
        "omsfab/ssh/transfer.py",
        "return there if not left and mine.hexdigest() == digest else 0",
        "return there",
        f"{SEND}a_corrupted_part_is_begun_anew",
    ),
    Guard(
        "a file is written in place: its inode stays",
        "omsfab/commands/scripts/write_in_place.sh",
        'dd if="$new" of="$path" conv=fsync bs=64k 2>/dev/null || {',
        'mv -f "$new" "$path" && cp "$path" "$new" || {',
        f"{SSH}a_write_keeps_the_inode_and_the_former_content",
    ),
    Guard(
        "the container must see the config.yaml that was written",
        "omsfab/plan/steps.py",
        "        verify=(ConfigSays(path, content), *inside),",
        "        verify=(ConfigSays(path, content),),",
        "tests/unit/test_refusals.py::test_a_running_container_must_see_what_was_written",
    ),
    Guard(
        "the intent is on disk before the effect",
        "omsfab/run/engine/runner.py",
        '            self._emit(_event(step.node, step.name, "intent", step.title))\n',
        "",
        f"{RUN}the_intent_is_told_before_the_effect_and_done_after_the_proof",
    ),
    Guard(
        "a journal that cannot be written stops the run",
        "omsfab/run/record/journal.py",
        "                raise _unwritable(self.path, error) from error\n",
        "                pass\n",
        f"{RUN}a_full_disk_stops_before_the_effect",
    ),
    Guard(
        "nothing is begun on an almost full disk",
        "omsfab/run/record/journal.py",
        "                    _room(self._fd)\n",
        "                    pass\n",
        f"{RUN}an_almost_full_disk_stops_before_the_effect_too",
    ),
    Guard(
        "a line that did not fit breaks no journal",
        "omsfab/run/record/journal.py",
        "                    os.ftruncate(self._fd, size)\n",
        "                    pass\n",
        f"{RUN}a_line_that_did_not_fit_breaks_no_journal",
    ),
    Guard(
        "nothing begins after Ctrl-C",
        "omsfab/run/engine/runner.py",
        '            if self.let_go:\n                raise Detached("RUN-030", "detached")\n',
        "",
        f"{RUN}nothing_begins_after_ctrl_c",
    ),
    Guard(
        "a rollback that changed nothing leaves the run open",
        "omsfab/run/lifecycle.py",
        "        if undoes is None:\n            return self._end(end, text)\n",
        "        return self._end(end, text)\n",
        f"{BACK}a_way_back_that_changed_nothing_leaves_the_run_as_it_was",
    ),
    Guard(
        "a run that is being rolled back is not resumed",
        "omsfab/run/resume.py",
        "        if way.past.begun:\n",
        "        if False:\n",
        f"{BACK}a_run_that_is_being_taken_back_is_not_resumed",
    ),
    Guard(
        "a run that ended on another jump host is not resumed",
        "omsfab/run/other_hosts.py",
        "    if copy.end and not past.ended and (undone or not back):\n",
        "    if False:\n",
        f"{BACK}a_run_that_has_ended_elsewhere_is_not_resumed",
    ),
    Guard(
        "a run is not rolled back below one that another jump host has made since",
        "omsfab/run/other_hosts.py",
        "if copy.run > run and not copy.undoes",
        "if False and not copy.undoes",
        f"{BACK}what_others_did_stops_a_run_before_it_does_anything",
    ),
    Guard(
        "a rollback that another jump host went on with is not gone on with",
        "omsfab/run/recorded.py",
        "    if rollback:\n",
        "    if False:\n",
        f"{BACK}a_rollback_that_another_jump_host_went_on_with_is_not_gone_on_with",
    ),
    Guard(
        "a run that had begun nothing here may have been carried out elsewhere",
        "omsfab/run/undo.py",
        "other_hosts.refuse_elsewhere(seen, run.directory, run.past)",
        "pass",
        "tests/simulation/test_simulation.py::test_what_was_found_stays_mended[carried-out-from-its-copy]",
    ),
    Guard(
        "the locks of a run that ended elsewhere are not kept",
        "omsfab/run/lifecycle.py",
        "self._keeper and self._keeper.lease.was_free:",
        "False:",
        f"{BACK}the_locks_of_a_run_that_ended_elsewhere_are_not_kept",
    ),
    Guard(
        "a run of this jump host that has ended locks nobody out",
        "omsfab/run/start.py",
        "lease_refuse_taken(lambda held: lifecycle.left_behind(session.home, held))",
        "lease_refuse_taken()",
        "tests/simulation/test_simulation.py::test_what_was_found_stays_mended[lock-left-behind]",
    ),
    Guard(
        "no docker_init.sh runs in another region while a new one joins",
        "omsfab/plan/procedures/scale_out.py",
        "vip=False, others=theirs)",
        "vip=False)",
        "tests/unit/test_new_region.py::test_old_nodes_that_are_right_are_left_alone",
    ),
    Guard(
        "--stop-init ends what runs, and starts none again that had ended well",
        "omsfab/run/engine/init_job.py",
        "if not ended and (self._lives(seen) or self._had_ended_well()):",
        "if not ended and self._lives(seen):",
        "tests/simulation/test_simulation.py::test_what_was_found_stays_mended[stop-init-of-one-that-had-ended]",
    ),
    Guard(
        "what others did is no failure of the rollback",
        "omsfab/run/undo.py",
        'if error.changed == "nothing" or error.id in other_hosts.ACTED:',
        'if error.changed == "nothing":',
        f"{BACK}what_others_did_is_no_failure_of_a_rollback",
    ),
    Guard(
        "the proof at the end is not older than a minute",
        "omsfab/run/engine/runner.py",
        "if not errors and (again := self._grown_old(stage, steps, plan)):",
        "if False:",
        "tests/simulation/test_simulation.py::test_what_was_found_stays_mended[asleep-in-the-final-verification]",
    ),
    Guard(
        "with a new node behind a VIP every old one reads config.yaml again",
        "omsfab/plan/procedures/scale_out.py",
        "told = [node for node in old if new or drifts[node.name]]",
        "told = [node for node in old if drifts[node.name]]",
        "tests/unit/test_plans.py"
        "::test_an_old_node_whose_file_is_right_already_is_told_of_the_new_ones_all_the_same",
    ),
    Guard(
        "rows that others have put back are not put back over theirs",
        "omsfab/run/other_hosts.py",
        'if mark == "put back" and not own_rollback:',
        "if False:",
        f"{BACK}the_marker_in_metadb_contradicts_the_journal",
    ),
    Guard(
        "a rollback removes no container of another run",
        "omsfab/commands/scripts/lib_whose.sh",
        """if [ -n "$by" ]; then [ "$by" != "$3" ] || ours=yes""",
        """if [ -n "$by" ]; then ours=yes""",
        "tests/unit/test_node_scripts.py::test_a_container_is_removed_by_the_run_that_made_it_only",
    ),
    Guard(
        "a rollback puts back no file that others have written since",
        "omsfab/commands/scripts/lib_whose_file.sh",
        """    why="its content is not what the run wrote"\n""",
        "    :\n",
        "tests/unit/test_claim.py::test_a_file_that_others_wrote_since_is_left_alone",
    ),
    Guard(
        "deleted rows are put back whoever stopped the programs",
        "omsfab/plan/procedures/undo.py",
        "\n            or (self.rows and node in self.rows.nodes)",
        "",
        f"{BACK}deleted_rows_are_put_back_whoever_stopped_the_programs",
    ),
    Guard(
        "a rollback waits for docker_init.sh of the run",
        "omsfab/plan/procedures/undo.py",
        'if it.has(step_names.INITIALISE, one.name))\n    return Stage(',
        "if False)\n    return Stage(",
        "tests/unit/test_undo.py::test_a_whole_scale_out_is_taken_back_in_reverse",
    ),
    Guard(
        "an initialisation that runs already is a lock",
        "omsfab/run/engine/runner.py",
        "            kind = Locked\n",
        "            pass\n",
        f"{RUN}an_initialisation_that_runs_already_is_a_lock",
    ),
    Guard(
        "exit 3 says that nothing was changed",
        "omsfab/run/engine/runner.py",
        "error.exit_code = StepFailed.exit_code",
        "pass",
        f"{RUN}exit_3_says_that_nothing_was_changed",
    ),
    Guard(
        "an edited journal is refused",
        "omsfab/run/record/journal.py",
        "        if previous != head:\n",
        "        if False:\n",
        f"{RUN}a_journal_that_was_edited_is_refused",
    ),
    Guard(
        "an outcome that is not proven is no success",
        "omsfab/run/engine/runner.py",
        "        if why and not step.warn and step.fault not in self._accepted:\n"
        "            raise self._not_so(step, why)\n",
        "",
        f"{RUN}an_effect_whose_outcome_is_not_proven_is_no_success",
    ),
    Guard(
        "a once-only step whose session was lost is not repeated",
        "omsfab/run/engine/runner.py",
        "twice=step.kind in TWICE)",
        "twice=True)",
        f"{RUN}a_lost_session_of_a_once_only_step_is_not_repeated",
    ),
    Guard(
        "nothing more is done once the lock is lost",
        "omsfab/run/engine/runner.py",
        'if step.kind != "read-only":\n                self._guard()\n',
        "pass\n",
        f"{RUN}a_run_that_lost_its_lock_does_nothing_more",
    ),
    Guard(
        "nothing is judged once the lock is lost",
        "omsfab/run/engine/runner.py",
        "error = self._lost_instead(failure)",
        "error = failure",
        f"{RUN}what_is_seen_after_the_lock_was_lost_is_nobodys_failure",
    ),
    Guard(
        "the copy of another jump host that went on is not overwritten",
        "omsfab/commands/scripts/extend.sh",
        """  head -c "$(wc -c <"$path")" -- "$new" | cmp -s - "$path" || { rm -f -- "$new"; exit 46; }\n""",
        "  :\n",
        "tests/unit/test_node_scripts.py::test_a_journal_only_grows",
    ),
    Guard(
        "nobody is begun while an initialisation may still run",
        "omsfab/run/engine/runner.py",
        "    return any(not stage.tolerate_failures or isinstance(error, OutcomeUnknown) for error in errors)",
        "    return any(not stage.tolerate_failures for error in errors)",
        "tests/unit/test_partial_failure.py::test_nobody_is_begun_while_an_initialisation_may_still_run",
    ),
    Guard(
        "hosts that hosts.yaml does not name stop the plan",
        "omsfab/plan/procedures/refusals.py",
        "    strangers = sorted(set(present.hosts) - set(region.ips))\n    if strangers:",
        "    strangers = sorted(set(present.hosts) - set(region.ips))\n    if False:",
        "tests/unit/test_plans.py::test_a_present_that_fits_no_scenario_is_refused",
    ),
    Guard(
        "two holders of the VIP stop the plan",
        "omsfab/plan/procedures/refusals.py",
        "    if len(holders) > 1 or strangers:\n",
        "    if False:\n",
        "tests/unit/test_refusals.py::test_two_holders_of_the_vip_are_refused",
    ),
    Guard(
        "a region at work is stopped on request only",
        "omsfab/plan/procedures/refusals.py",
        "    if present.traffic:\n",
        "    if False:\n",
        "tests/unit/test_refusals.py::test_a_region_at_work_is_stopped_on_request_only",
    ),
    Guard(
        "every container that runs is stopped before rows go",
        "omsfab/plan/procedures/scale_out.py",
        "    old = [*old, *(node for node in new if present.facts(node.name).container == \"running\")]\n",
        "",
        "tests/unit/test_refusals.py::test_a_container_that_runs_without_being_online_is_stopped_too",
    ),
    Guard(
        "what the outage needs is asked before it",
        "omsfab/plan/questions.py",
        "        _kept(fleet, node),\n        _seen(fleet, node),\n",
        "",
        "tests/unit/test_refusals.py::test_what_the_outage_needs_is_asked_before_it",
    ),
    Guard(
        "layers of a package have the digests it lists",
        "omsfab/fleet/image_package.py",
        '            if have is not None and f"sha256:{have}" != diff and have not in layer:',
        "            if False:",
        "tests/unit/test_image_package.py::test_a_flipped_byte_in_a_layer_is_found_before_anything_is_sent",
    ),
    Guard(
        "a secret is masked in any form",
        "omsfab/fleet/mask.py",
        "*(found.span() for pattern in self._found for found in pattern.finditer(text)),",
        "",
        "tests/unit/test_mask.py::test_no_form_of_a_secret_survives",
    ),
    Guard(
        "no escape sequence of a node reaches a terminal",
        "omsfab/fleet/mask.py",
        """    text = _ESCAPES.sub("", text)""",
        "    pass",
        "tests/unit/test_mask.py::test_nothing_that_a_terminal_obeys_passes",
    ),
    Guard(
        "a file of a secret is the operator's alone",
        "omsfab/fleet/secret_sources.py",
        "0o077",
        "0o000",
        "tests/unit/test_secret_sources.py::test_a_file_that_others_may_touch_is_refused",
    ),
    Guard(
        "a new region takes nothing that another has",
        "omsfab/plan/procedures/refusals.py",
        "if present.regions.get(code) == region.name else ()",
        "if False else ()",
        "tests/unit/test_new_region.py::test_what_another_region_has_is_refused",
    ),
    Guard(
        "a heartbeat database in use is refused",
        "omsfab/plan/procedures/refusals.py",
        "if strangers and region.location not in present.clusters:",
        "if False:",
        "tests/unit/test_new_region.py::test_what_another_region_has_is_refused",
    ),
    Guard(
        "databases and location are those of the running nodes",
        "omsfab/plan/procedures/refusals.py",
        'if drift.key in FIXED',
        "if False",
        "tests/unit/test_new_region.py::test_databases_are_those_of_the_running_nodes",
    ),
    Guard(
        "the rows of all regions are saved before a new one writes",
        "omsfab/plan/procedures/scale_out.py",
        '            Stage("rows of the other regions", (steps.save_rows(region),)),\n',
        "",
        "tests/unit/test_new_region.py::test_rows_are_saved_before_anything_writes_rows",
    ),
    Guard(
        "rows that MetaDB has by another name are not deleted",
        "omsfab/plan/procedures/refusals.py",
        'if named not in ("", region.name) and says:',
        "if False:",
        "tests/unit/test_new_region.py::test_rows_of_another_name_are_not_deleted",
    ),
    Guard(
        "no run writes past the mounts of a container",
        "omsfab/plan/procedures/regions.py",
        "        if there.get(target) != source:\n",
        "        if False:\n",
        "tests/unit/test_refusals.py::test_a_container_that_differs_is_found_out_before_the_outage",
    ),
    Guard(
        "repairs write config.yaml no further than a scale-out",
        "omsfab/plan/procedures/node.py",
        "    refusals.config_kept(fleet, (node,), present)\n",
        "",
        "tests/unit/test_refusals.py"
        "::test_a_repair_writes_config_yaml_no_further_than_a_scale_out",
    ),
    Guard(
        "all nodes run one image, by its id",
        "omsfab/plan/procedures/refusals.py",
        "and image != present.image",
        "and False",
        "tests/unit/test_image_identity.py::test_a_node_that_runs_another_image_stops_the_plan",
    ),
    Guard(
        "a key belongs to its certificate",
        "omsfab/fleet/certificate.py",
        "if leaf.public_key() != private.public_key():",
        "if False:",
        "tests/unit/test_certificate.py::test_what_could_not_work_is_refused",
    ),
    Guard(
        "an expired certificate is refused",
        "omsfab/fleet/certificate.py",
        "if now > leaf.not_valid_after_utc:",
        "if False:",
        "tests/unit/test_certificate.py::test_what_could_not_work_is_refused",
    ),
    Guard(
        "a certificate for others is refused",
        "omsfab/fleet/certificate.py",
        "if not by_node and not _covers(hosts, region.cm_url.host):",
        "if False:",
        "tests/unit/test_certificate.py::test_a_certificate_for_others_is_refused",
    ),
    Guard(
        "a certificate that could not work is not sent",
        "omsfab/run/start.py",
        "if region.https and region.https.crt in sent:",
        "if False:",
        "tests/unit/test_certificate.py::test_what_could_not_work_is_not_sent",
    ),
    Guard(
        "no other certificate is sent than the one confirmed",
        "omsfab/run/engine/interpreter.py",
        "if found == sha256:",
        "if found:",
        "tests/unit/test_certificate.py::test_no_other_certificate_is_sent_than_the_one_confirmed",
    ),
    Guard(
        "the MetaDB shows a certificate of its CA",
        "omsfab/metadb/tunnel.py",
        "context = ssl.create_default_context(cafile=str(metadb.tls.ca))",
        "context = ssl._create_unverified_context()",
        "tests/wire/test_metadb_way.py::test_a_certificate_of_another_ca_is_refused",
    ),
    Guard(
        "with metadb.tls nothing is said in plain text",
        "omsfab/metadb/tunnel.py",
        "if metadb.tls:",
        "if False:",
        "tests/wire/test_metadb_way.py::test_a_server_without_tls_is_refused",
    ),
    Guard(
        "a dead line is dropped, and not the younger one of another thread",
        "omsfab/ssh/shell.py",
        "if self._transport is not transport:\n                return\n",
        "transport = self._transport or transport\n",
        f"{SSH}a_lost_session_takes_no_younger_line_with_it",
    ),
    Guard(
        "EOF never comes behind CLOSE",
        "omsfab/ssh/transport.py",
        "with channel.lock:",
        "if True:",
        f"{SSH}a_command_that_ends_at_once_does_not_cost_the_line",
    ),
    Guard(
        "a docker that speaks to another machine is refused",
        "omsfab/commands/scripts/docker_fits.sh",
        "  tcp:* | ssh:* | http*)",
        "  nothing)",
        "tests/unit/test_node_scripts.py::test_a_docker_that_cannot_run_oms_is_told_apart",
    ),
    Guard(
        "beyond its time a docker_init.sh still runs only if it lives",
        "omsfab/run/engine/init_job.py",
        "if over and not self._lives(seen):",
        "if False:",
        "tests/simulation/test_simulation.py::test_what_was_found_stays_mended[dead-for-long]",
    ),
    Guard(
        "what docker_init.sh has not restarted is restarted",
        "omsfab/run/engine/interpreter.py",
        "if older and known:",
        "if False:",
        "tests/unit/test_programs.py::test_what_docker_init_has_not_restarted_is_restarted",
    ),
    Guard(
        "an empty flag file is no success",
        "omsfab/commands/scripts/init_look.sh",
        '[ -s "$5" ] && [ "$5" -nt',
        '[ -e "$5" ] && [ "$5" -nt',
        "tests/unit/test_job_verdict.py"
        "::test_a_flag_file_is_fresh_if_it_is_of_this_attempt_and_not_empty",
    ),
    Guard(
        "a node with slow logins ends no resume",
        "omsfab/run/record/claims.py",
        "except (LostSession, NoAnswer, Unreachable) as error:",
        "except Unreachable as error:",
        f"{BACK}a_node_with_slow_logins_ends_no_resume",
    ),
    Guard(
        "nothing is sent to a node once the lock is lost",
        "omsfab/ssh/shell.py",
        "self.guard()\n        mark",
        "mark",
        f"{SSH}nothing_is_sent_once_the_lock_is_lost",
    ),
    Guard(
        "docker_init.sh runs in /root",
        "omsfab/commands/scripts/init_wrapper.sh",
        "cd /root && exec",
        "exec",
        f"{JOB}it_runs_in_the_directory_of_root",
    ),
    Guard(
        "a docker_init.sh that repeats itself is waited for",
        "omsfab/plan/procedures/scale_out.py",
        "        steps.inits_over(fleet, node),\n",
        "",
        "tests/simulation/test_simulation.py::test_what_was_found_stays_mended[repeats-itself]",
    ),
    Guard(
        "of a container that is down nothing else is asked",
        "omsfab/run/engine/runner.py",
        " and error.id != DOWN",
        "",
        "tests/unit/test_findings.py::test_of_a_container_that_is_down_only_that_is_told",
    ),
    Guard(
        "a container that went down with its node is started",
        "omsfab/commands/scripts/up.sh",
        "case $runs in true*) exit 0; esac",
        "exit 0",
        f"{JOB}a_container_that_is_down_is_started_first",
    ),
    Guard(
        "its programs are stopped again, where they had been",
        "omsfab/commands/scripts/up.sh",
        '[ -z "$2" ] || ctl "$1" stop all',
        "true",
        f"{JOB}a_container_that_is_down_is_started_first",
    ),
    Guard(
        "a MetaDB that fails over is waited for",
        "omsfab/run/engine/runner.py",
        "waits=FAILOVER,",
        "waits=(),",
        f"{RUN}a_metadb_that_fails_over_is_waited_for",
    ),
    Guard(
        "cm_url is asked once more at the end",
        "omsfab/plan/procedures/scale_out.py",
        "steps.vip_answers(fleet, region, node, last=True),",
        "",
        "tests/unit/test_plans.py::test_physical_address_to_vip",
    ),
    Guard(
        "a lease is renewed no more before it is given back",
        "omsfab/run/lifecycle.py",
        "            self._keeper.stop()\n",
        "",
        "tests/unit/test_undo_runs.py::test_a_way_back_that_changed_nothing_leaves_the_run_as_it_was",
    ),
    Guard(
        "nothing gets into a bundle but through the redactor",
        "omsfab/cli/diag.py",
        "        self.texts[name] = self._redact(text)\n",
        "        self.texts[name] = text\n",
        "tests/unit/test_node_looks.py::test_no_secret_is_in_the_bundle_in_any_form",
    ),
    Guard(
        "a log that is followed is masked over the end of a look",
        "omsfab/cli/nodes.py",
        "held = self._held.setdefault(key, self._tell.redact.lines())",
        "held = self._tell.redact.lines()",
        "tests/unit/test_node_looks.py::test_what_is_followed_is_masked_and_filtered",
    ),
    Guard(
        "an obdiag config that is there is not overwritten",
        "omsfab/cli/diag.py",
        "if path.exists() and path.read_text() != text:",
        "if False:",
        "tests/unit/test_node_looks.py::test_a_config_of_somebody_else_is_not_overwritten",
    ),
    Guard(
        "of a node that cannot be asked fleet.check tells no difference",
        "omsfab/cli/fleet.py",
        "if (one.node or METADB) not in away",
        "if True",
        "tests/unit/test_fleet_check.py::test_a_silent_metadb_makes_no_row_a_difference",
    ),
    Guard(
        "what fleet.check quotes is masked",
        "omsfab/cli/fleet.py",
        "groups = [replace(one, what=redact(one.what), found=redact(one.found)) for one in groups]",
        "groups = list(groups)",
        "tests/unit/test_fleet_check.py::test_no_finding_shows_the_password",
    ),
    Guard(
        "a killed run that has left its name in the lock is not under way",
        "omsfab/run/record/local_lock.py",
        "                _flock(file.fileno(), fcntl.LOCK_SH, home / \"lock\")",
        "                raise Locked(\"LOCK-001\", \"\")",
        "tests/unit/test_history.py::test_a_run_whose_process_lives_is_running",
    ),
    Guard(
        "claims without their run's lease are asked about before they are freed",
        "omsfab/cli/status.py",
        "if nodes and not leased:",
        "if False:",
        "tests/unit/test_claim.py::test_claims_beside_the_lease_of_another_run_are_asked_about",
    ),
    Guard(
        "a stop is not repeated into an initialisation that has begun",
        "omsfab/run/engine/runner.py",
        "if not (once and step.until in past.begun):",
        "if True:",
        f"{RUN}what_must_still_be_so_is_made_so_again",
    ),
    Guard(
        "the journal is not believed against the attempt and the marker",
        "omsfab/run/engine/runner.py",
        "and (not step.apply or self._world.ended(step, self._attempt(step)))",
        "and True",
        f"{RUN}a_journal_is_not_believed_against_the_attempt",
    ),
    Guard(
        "a copy from a node acts nowhere but where hosts.yaml says",
        "omsfab/run/record/past_run.py",
        "        if unlike:",
        "        if False:",
        f"{BACK}a_copy_that_acts_elsewhere_is_refused",
    ),
    Guard(
        "the lease lies where every user of this OMS looks",
        "omsfab/metadb/lease.py",
        "schema = rm_db if deployed else sql.OWN_SCHEMA",
        "schema = sql.OWN_SCHEMA",
        f"{DB}two_users_with_different_rights_hold_no_two_leases",
    ),
    Guard(
        "the lease of a former version is looked at, too",
        "omsfab/metadb/lease.py",
        "for schema in (rm_db, sql.OWN_SCHEMA)",
        "for schema in (rm_db,)",
        f"{DB}the_lease_of_a_former_version_is_respected",
    ),
    Guard(
        "no repair beside docker_init.sh, asked before the claim",
        "omsfab/run/start.py",
        "            _refuse_while_it_initialises(session, node, found, again)",
        "            pass",
        "tests/unit/test_repairs.py::test_while_docker_init_runs_nothing_is_repaired",
    ),
    Guard(
        "no repair beside docker_init.sh, asked under the claim",
        "omsfab/plan/procedures/node.py",
        "before = (*(_no_init_runs(fleet, one) for one in running), *asked(nodes))",
        "before = (*asked(nodes),)",
        "tests/unit/test_repairs.py::test_a_repair_asks_first_whether_docker_init_runs",
    ),
    Guard(
        "what the stop has left of a program is told",
        "omsfab/commands/processes.py",
        "if one.ports or (not one.store and (one.program or one.user in USERS))",
        "if False",
        "tests/unit/test_left_over.py::test_what_should_have_ended_with_the_programs",
    ),
    Guard(
        "a stop of production is confirmed by the name of the region",
        "omsfab/run/confirmation.py",
        'if answer == word if word else answer.lower() == "yes":',
        'if answer == word or answer.lower() == "yes":',
        "tests/unit/test_confirm.py::test_where_much_is_at_stake_only_the_name_of_the_region_counts",
    ),
    Guard(
        "what is no URL chooses no rows",
        "omsfab/fleet/values.py",
        "return bool(self.host) and self._pattern",
        "return self._pattern",
        "tests/unit/test_cm_url.py::test_what_is_no_url_is_carried_by_nothing",
    ),
    Guard(
        "hosts.yaml is held to the grammar of its values",
        "omsfab/fleet/values.py",
        "return value if info.context is None else check(value)",
        "return value",
        "tests/unit/test_hosts_file.py::test_a_bad_file_is_refused_with_path_and_cure",
    ),
    Guard(
        "a name of the model is no key of hosts.yaml",
        "omsfab/fleet/hosts_file.py",
        "by_name=False",
        "by_name=True",
        "tests/unit/test_hosts_file.py::test_what_only_the_model_has_is_no_key_of_the_file",
    ),
    Guard(
        "it is looked at what the stop has left, wherever production is stopped",
        "omsfab/plan/procedures/scale_out.py",
        "for step in (stop, steps.left_over(fleet, node))",
        "for step in (stop,)",
        "tests/unit/test_left_over.py::test_it_is_looked_at_wherever_production_is_stopped",
    ),
    Guard(
        "a rollback is advised only where something was changed",
        "omsfab/run/lifecycle.py",
        'own = tuple(line for line in own if line.task != "run.undo")  # of an older run',
        "pass",
        "tests/unit/test_every_step.py::test_nothing_is_rolled_back_where_nothing_was_changed",
    ),
    Guard(
        "a rollback that would find the same is not advised",
        "omsfab/run/undo.py",
        "if own and (error.accept or any(line.task == UNDO for line in own)):",
        "if False:",
        "tests/unit/test_next_lines.py::test_a_file_of_others_is_looked_at_or_accepted",
    ),
    Guard(
        "an error says what is to be done before the same line",
        "omsfab/errors.py",
        'return said or CURES.get(self.id, "")',
        "return said",
        "tests/unit/test_every_step.py::test_a_step_that_is_not_so_before_the_first_change_leads_on",
    ),
    Guard(
        "what is lost of a run here is brought from its copy",
        "omsfab/run/record/replica.py",
        "        complete(shell, here)\n",
        "        pass\n",
        "tests/unit/test_mirror.py::test_what_is_lost_of_a_run_here_is_brought",
    ),
    Guard(
        "a run by a copy of its journal may have changed what the copy lacks",
        "omsfab/run/record/journal.py",
        "return bool(self.begun) or self.copied",
        "return bool(self.begun)",
        "tests/unit/test_undo_runs.py::test_a_copy_that_names_no_step_may_have_begun_all_the_same",
    ),
    Guard(
        "init: auto waits for a script that is about to initialise",
        "omsfab/run/engine/init_job.py",
        "        if self.pending:\n",
        "        if False:\n",
        "tests/unit/test_job_verdict.py::test_a_start_is_over_by_what_is_seen_of_it",
    ),
    Guard(
        "init: auto waits until supervisord has begun its programs",
        "omsfab/run/engine/init_job.py",
        "        if self.mentioned or self.served is None:\n",
        "        if self.mentioned:\n",
        "tests/unit/test_job_verdict.py::test_a_start_is_over_by_what_is_seen_of_it",
    ),
    Guard(
        "the login is asked from a node that has no container yet",
        "omsfab/plan/questions.py",
        "        _metadb_lets_in(fleet.metadb, node),\n",
        "",
        "tests/unit/test_preflight_scripts.py::test_the_login_is_asked_from_every_node",
    ),
    Guard(
        "what stands before an initialisation that was begun is not done again by a copy",
        "omsfab/run/engine/runner.py",
        "        if self._past and self._past.copied:",
        "        if False:",
        f"{RUN}what_stands_before_an_initialisation_that_was_begun_is_not_done_again",
    ),
    Guard(
        "--accept is offered by tasks that take it alone",
        "omsfab/plan/acceptance.py",
        "if task in WITHOUT:",
        "if False:",
        "tests/unit/test_acceptance.py"
        "::test_a_line_that_accepts_is_offered_by_tasks_that_take_it_alone",
    ),
)  # fmt: skip


def pytest(tree: Path, *tests: str) -> bool:
    """Whether the tests pass in this tree."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):  # no such test, or none was run
        raise SystemExit(f"{tests}: {done.stdout[-800:]}{done.stderr[-300:]}")
    return done.returncode == 0


def judge(tree: Path, guard: Guard) -> bool:
    """Take the guard out, and see whether its test fails."""
    path = tree / guard.file
    text = path.read_text()
    if text.count(guard.old) != 1:
        raise SystemExit(f"{guard.name}: {guard.old!r} stands {text.count(guard.old)} times")
    path.write_text(text.replace(guard.old, guard.new))
    try:
        return not pytest(tree, guard.test)
    finally:
        path.write_text(text)


def main(words: list[str]) -> int:
    if words == ["--list"]:
        print("| guard | test |\n|---|---|")
        print("\n".join(f"| {guard.name} | `{guard.test}` |" for guard in GUARDS))
        return 0
    chosen = [g for g in GUARDS if not words or any(word in g.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="omsfab-guards-") as directory:
        tree = Path(directory) / "omsfab"
        skip = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, tree, ignore=skip)
        if not pytest(tree, *dict.fromkeys(guard.test for guard in chosen)):
            print("the tests fail already, with all guards in place")
            return 1
        missed = 0
        for guard in chosen:
            red = judge(tree, guard)
            missed += not red
            print(f"{'red  ' if red else 'GREEN'}  {guard.name}\n       {guard.test}", flush=True)
    print(f"{len(chosen)} guards, {missed} whose removal no test notices")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
