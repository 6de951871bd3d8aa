"""Faults that tests below the lab show: a real sshd, a real MetaDB, a real shell, or a pure plan."""

from __future__ import annotations

from tests.faults.matrix import shown_by

DB = "tests/wire/test_metadb.py::test_"
JOB = "tests/wire/test_job.py::test_"
SSH = "tests/wire/test_ssh.py::test_"
SEND = "tests/wire/test_send.py::test_"
RUNS = "tests/lab/test_runs.py::test_"
HOSTS = "tests/unit/test_hosts_file.py::test_"
SECRET = "tests/unit/test_secret_sources.py::test_"

shown_by(
    "N02c",
    "a node stays away for longer than is waited",
    "a line that is never had again",
    f"{JOB}a_node_that_stays_away_leaves_the_outcome_open",
)
shown_by(
    "N14",
    "the image upload is cut at 10, 50 and 99 %",
    "the session killed there",
    f"{SEND}a_cut_transfer_goes_on_where_it_was_cut",
)
shown_by(
    "J01b",
    "the driver of docker_init.sh is killed",
    "SIGKILL, then again",
    f"{JOB}a_killed_driver_changes_nothing_for_the_job",
)
shown_by(
    "J13",
    "a stale lease, and who may break it",
    "a second holder",
    f"{DB}breaking_wants_the_exact_run_and_an_expired_lease",
    f"{DB}an_expired_lock_of_another_is_not_stolen",
    f"{DB}a_run_takes_its_own_lock_back",
)
shown_by(
    "J15",
    "a paused holder wakes after a take-over",
    "another token in the lease row",
    f"{DB}a_holder_that_wakes_after_a_takeover_changes_nothing",
)
shown_by(
    "J17",
    "memory with a large package",
    "a package of 300 MB",
    f"{SEND}memory_does_not_grow_with_the_file",
)
shown_by(
    "D01",
    "the link is lost between backup and delete",
    "a proxy cuts before or after each statement, both engines",
    f"{DB}a_cut_line_never_lies",
)
shown_by(
    "D02", "the link is lost between two deletes", "the same proxy", f"{DB}a_cut_line_never_lies"
)
shown_by(
    "D03",
    "the reply to COMMIT is lost",
    "the same proxy",
    f"{DB}a_cut_line_never_lies",
    f"{DB}no_answer_at_all_is_an_unknown_outcome",
)
shown_by(
    "D05b",
    "someone holds the rows: the holder is named",
    "an open transaction",
    f"{DB}a_held_row_is_named_with_its_holder",
)
shown_by(
    "D06",
    "a row comes between backup and delete",
    "a second session inserts",
    f"{DB}a_late_row_is_not_lost",
    f"{DB}a_writer_that_goes_on_stops_the_surgery",
)
shown_by(
    "D08b",
    "a table whose rows no rollback brings back",
    "MyISAM, a view, triggers, cascades",
    f"{DB}what_no_rollback_brings_back_is_refused",
)
shown_by(
    "D09",
    "an implicit commit",
    "every statement between BEGIN and COMMIT is looked at",
    f"{DB}nothing_commits_by_itself_between_begin_and_commit",
)
shown_by(
    "D10",
    "the backup is cut, flipped, empty or cannot be written",
    "injured between write and check",
    f"{DB}a_bad_backup_deletes_nothing",
    f"{DB}a_backup_that_cannot_be_written_deletes_nothing",
    f"{DB}every_flipped_bit_of_a_backup_is_noticed",
)
shown_by(
    "D12",
    "values that break naive dumps",
    "NULL, blobs, JSON, zero dates, 4 MB, odd names",
    f"{DB}nasty_values_survive_delete_and_restore",
    f"{DB}too_many_rows_are_another_table",
)
shown_by(
    "D17",
    "time-outs of OceanBase",
    "a server that does not answer in the commit",
    f"{DB}no_answer_at_all_is_an_unknown_outcome",
    f"{DB}a_cut_restore_never_lies",
)
shown_by(
    "C09",
    "docker_init.sh hangs",
    "a script that sleeps, a short limit",
    f"{JOB}the_limit_ends_the_waiting_and_not_the_job",
    f"{JOB}long_waits_show_that_they_live",
)
shown_by(
    "V06",
    "a crash in the middle of the in-place write",
    "a half-written file, a second try",
    f"{SSH}a_second_write_leaves_the_first_backup",
    f"{SSH}a_write_that_finds_no_room_leaves_everything",
)
shown_by(
    "V10",
    "secrets that YAML or a shell would alter",
    "31 nasty passwords, and hypothesis",
    "tests/unit/test_oms_config.py",
)
shown_by(
    "V11",
    "hostile words",
    "10,000 through a real sh; bad names in hosts.yaml",
    "tests/unit/test_command.py::test_ten_thousand_hostile_words_come_back_unchanged",
    f"{HOSTS}a_bad_file_is_refused_with_path_and_cure",
)
shown_by(
    "V16",
    "cm_url is wrong",
    "20 bad cm_urls in hosts.yaml",
    f"{HOSTS}a_bad_file_is_refused_with_path_and_cure",
)
shown_by(
    "I11d", "what sudo may say", "a sudo that says so", f"{SSH}the_moods_of_sudo_are_told_apart"
)
shown_by(
    "I18",
    "an old kernel, cgroup 2, odd sysctl",
    "only warned of",
    "tests/unit/test_partial_failure.py::test_a_warning_is_told_and_nothing_is_refused",
)
shown_by(
    "X03b",
    "the file of a secret belongs to another user, or lies on a shared mount",
    "owners and mounts",
    f"{SECRET}a_file_of_another_user_is_refused",
    f"{SECRET}a_file_on_a_shared_mount_is_refused",
)
shown_by(
    "J10b",
    "a repair of one node beside a run",
    "from the same jump host, and from another",
    f"{RUNS}two_runs_on_one_jump_host_exclude_each_other",
)
shown_by(
    "J11b",
    "two operators on two jump hosts, again and again",
    "started together, three times; four takers of one lease, 25 times, both engines",
    f"{RUNS}of_two_operators_on_two_jump_hosts_one_wins",
    f"{DB}of_many_takers_one_wins",
)
shown_by(
    "D15b",
    "other rights are missing",
    "each right in turn, both engines",
    f"{DB}missing_rights_are_found_before_anything_changes",
)
shown_by(
    "D16d",
    "a wrong password would lock the account at the fifth try",
    "the tries are counted",
    f"{DB}a_wrong_password_is_tried_once_and_never_shown",
)
shown_by(
    "D16e",
    "the MetaDB wants TLS, or shows another certificate",
    "a server with TLS, a CA that is not its own, a server without",
    "tests/wire/test_metadb_way.py",
)
shown_by(
    "C07c",
    "the banner is cut in the middle of a character, or is a part of a line",
    "a job whose output is cut there",
    f"{JOB}characters_cut_by_a_poll_are_whole",
    "tests/unit/test_job_verdict.py",
)
shown_by(
    "C11b",
    "cm_url has another case, port or scheme, or stands in no row or in two",
    "rows changed by SQL, both engines",
    f"{DB}cm_url_is_compared_by_scheme_host_and_port",
    f"{DB}cm_url_wants_exactly_one_row",
)
shown_by(
    "V15d",
    "heartbeat databases, locations, defaults and names that cannot be in hosts.yaml",
    "bad files: duplicates in any case, 128, true, 01, 1.0, two defaults, none",
    f"{HOSTS}a_bad_file_is_refused_with_path_and_cure",
)
