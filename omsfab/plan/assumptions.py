"""What omsfab believes about the real OMS: each belief with its evidence, and what if it is wrong.

Once production is stopped, a run stops only for what protects data or proves a failure; everything
else warns, and what refuses without protecting data can be accepted (plan/acceptance.py).
docs/assumptions.md is made of this table (tests/unit/test_assumptions.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Broken: TypeAlias = Literal["hard", "warning"]
"""``hard``: refused before the outage, or stopped with resume and undo as ways on.
``warning``: the run ends in service, and says so."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One belief.  ``evidence`` names its source, ``otherwise`` says what happens if it is wrong,
    ``test`` are the functions of tests/ in which it is broken, one of them on a running fleet."""

    id: str
    belief: str
    evidence: str
    broken: Broken
    otherwise: str
    test: str = ""


ASSUMPTIONS = (
    Assumption(
        "A01",
        "`supervisorctl stop all` ends every program; FATAL and EXITED are ends as well",
        "Supervisor documentation, process states; startsecs=10 and startretries=0 in the ini files"
        " of a 3.3.0 container",
        "warning",
        "only RUNNING, STARTING, BACKOFF and STOPPING count as not stopped",
        "unit/test_programs: test_a_program_without_a_process_counts_as_stopped, "
        "lab/test_way_round: test_a_program_that_is_broken_before_stops_nothing_in_the_outage",
    ),
    Assumption(
        "A02",
        "docker_init.sh ends with 0",
        "none: the vendor's own upgrade code does not trust the status",
        "warning",
        "judged by banner or flag file, by what follows them, and by MetaDB; the status is told",
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A03",
        "the banner is the line `【结束】全部初始化步骤执行成功`",
        "documents up to 3.3.1; from 4.0.0 on the sentence only",
        "warning",
        "the sentence counts with any signs around it; without it a fresh flag file does",
        "unit/test_job_verdict: test_the_banner_counts_in_every_dress, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A04",
        "an initialisation that is not ours has ended well",
        "none",
        "hard",
        "adopted only on evidence of this start (flag, log, banner); else ours runs afterwards",
        "wire/test_job: test_auto_does_not_believe_an_init_without_evidence, "
        "lab/test_way_round: test_production_is_back_although_the_script_fails_there_too",
    ),
    Assumption(
        "A05",
        "omsflow.scripts.units runs only within an initialisation",
        "against it: the entry script of a 3.3.0 container runs a unit at each start",
        "warning",
        "its end is waited for, and docker_init.sh runs",
        "wire/test_job: test_a_mere_step_at_the_start_is_waited_for_and_not_adopted, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A06",
        "an image that initialises itself shows it by log or flag file",
        "the vendor's deployer polls both, for images from 4.2.11 on",
        "warning",
        "from 4.2.11 on it is waited for; below, until what is seen of its start is over; without a"
        " sign ours runs",
        "wire/test_job: test_auto_waits_for_an_initialisation_that_is_to_come, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A07",
        "`OMS service start successfully` is among the last lines of docker logs",
        "the vendor's deployer polls it; supervisord logs to the same stream",
        "warning",
        "the last 200 lines of this start are read, and the flag file",
        "unit/test_job_verdict: test_a_container_that_initialised_itself_is_recognised, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A08",
        "omsflow is importable from /root, and needs no login shell",
        "the documents' `/root/omsflow`; real output of the init steps",
        "hard",
        "asked in the preflight; docker exec gets /root as its directory",
        "unit/test_preflight_scripts: test_a_python_that_does_not_find_omsflow_is_told, "
        "wire/test_job: test_it_runs_in_the_directory_of_root, "
        "lab/test_findings: test_all_of_them_are_told_at_once",
    ),
    Assumption(
        "A09",
        "supervisorctl speaks to the supervisord of its own container",
        "against it: serverurl=http://127.0.0.1:8084, which is one per host with --net host",
        "hard",
        "the container's own socket is asked first; a second OMS on the host is refused before",
        "unit/test_programs: test_the_containers_own_socket_goes_before_the_port_of_the_host, "
        "lab/test_way_round: test_another_supervisord_behind_the_port_is_not_commanded",
    ),
    Assumption(
        "A10",
        "docker_init.sh restarts what `stop all` has stopped",
        "documents, step 4 of the script: five programs; crond in 3.3.1 only",
        "warning",
        "what ran before is started again",
        "unit/test_programs: test_what_docker_init_does_not_start_is_started, "
        "lab/test_way_round: test_what_docker_init_does_not_start_is_started",
    ),
    Assumption(
        "A11",
        "all programs are RUNNING at the end",
        "against it: autostart=false of the console in the Enterprise Edition",
        "warning",
        "those that ran before and those that OMS needs are asked for, others are told",
        "unit/test_programs: test_only_what_is_named_must_run, "
        "lab/test_way_round: test_a_program_that_is_broken_before_stops_nothing_in_the_outage",
    ),
    Assumption(
        "A12",
        "`stop all` ends all who write",
        "against it: Stores and connectors are processes of their own",
        "hard",
        "MetaDB must be quiet before rows go, and stay so until docker_init.sh begins; Stores are"
        " counted in the plan, and what is left of a program is told with the line that ends it",
        "lab/test_rows: test_a_late_writer_keeps_docker_init_from_running",
    ),
    Assumption(
        "A13",
        "the columns of resource_group, host and location_cm",
        "two of them in part, location_cm by name only; cluster_info by the vendor's deployer",
        "warning",
        "hard for cluster_info only; unknown columns, other urls and a missing table are told",
        "wire/test_metadb: test_only_cluster_info_may_stop_a_run_by_what_it_says, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A14",
        "nothing refers to the ids of resource_group and host",
        "none: the guide deletes, every upgrade page initialises upon existing rows",
        "warning",
        "references are looked for and counted; --rows=update keeps the ids",
        "wire/test_metadb: test_foreign_keys_that_hold_rows_are_found_before_and_survive_both_ways"
        ", lab/test_rows: test_after_a_delete_what_refers_to_former_ids_is_told",
    ),
    Assumption(
        "A15",
        "docker_init.sh makes the rows again that were deleted",
        "guide, step 5",
        "warning",
        "each row is looked for by code, name or ip, and what is missing is told with its remedy",
        "wire/test_metadb: test_what_docker_init_did_not_make_again_is_told_with_what_mends_it, "
        "lab/test_way_round: test_rows_that_docker_init_does_not_make_again_are_told",
    ),
    Assumption(
        "A16",
        "the image id tells the version of OMS",
        "against it: a hot update keeps the container",
        "hard",
        "oms_version of MetaDB is compared with the image; can be accepted",
        "lab/test_findings: test_what_protects_no_data_goes_through_once_accepted",
    ),
    Assumption(
        "A17",
        "who reads config.yaml is root",
        "against it: oms_drc_supervisor runs as user ds",
        "warning",
        "owner and mode stay as found; a new file can be read by the users of the image",
        "unit/test_claim: test_a_file_keeps_owner_and_mode_however_it_is_written, "
        "lab/test_way_round: test_config_yaml_of_another_user_stays_his",
    ),
    Assumption(
        "A18",
        "the health page is there, and healthy within 900 s",
        "the vendor's deployer, for images from 4.2.11 on; no document names the page",
        "warning",
        "where it is absent the page of CM and the programs' states count",
        "unit/test_health_page: test_where_there_is_no_health_page_that_of_cm_counts, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A19",
        "a refresh need not restart oms_drc_cm",
        "the vendor's line for a changed config.yaml leaves it out",
        "warning",
        "it is restarted where oms_meta_* have changed, since it holds the same login",
        "unit/test_plans: test_a_refresh_restarts_cm_where_its_login_changed_and_only_then, "
        "lab/test_way_round: test_a_changed_login_reaches_cm_too",
    ),
    Assumption(
        "A20",
        "in rows of other regions only times and host_status move",
        "none: cpu, memory, disk and version columns may exist",
        "warning",
        "compared by what identifies a row; anything else that moved is told",
        "wire/test_metadb: test_other_regions_rows_are_proven_unchanged, "
        "lab/test_way_round: test_what_moves_in_the_rows_of_another_region_stops_no_run",
    ),
    Assumption(
        "A21",
        "no other OMS shares the host",
        "five custom ports, and 8084 is not among them",
        "hard",
        "looked for in the preflight",
        "unit/test_preflight_scripts: test_a_second_oms_on_the_host_is_seen_by_its_mounts, "
        "lab/test_way_round: test_a_second_oms_on_the_host_is_refused",
    ),
    Assumption(
        "A22",
        "docker_init.sh comes to an end",
        "documents: two to four minutes",
        "hard",
        "after some minutes the screen says how to end it; run.resume and run.undo can",
        "lab/test_way_round: test_nothing_of_a_script_that_hung_is_left",
    ),
    Assumption(
        "A23",
        "docker_init.sh works with the former config.yaml in the rollback",
        "guide, step 5: it may be repeated",
        "warning",
        "rows and file are restored, what ran is started, and what was not done is told",
        "lab/test_way_round: test_production_is_back_although_the_script_fails_there_too",
    ),
    Assumption(
        "A24",
        "`docker exec` finds supervisorctl, and it reaches supervisord",
        "guide: `supervisorctl stop all` in the container",
        "hard",
        "asked in the preflight (RUN-042): what cannot be stopped is not begun",
        "lab/test_findings: test_all_of_them_are_told_at_once",
    ),
    Assumption(
        "A25",
        "docker_init.sh has restarted the programs when it ends with its banner",
        "documents, step 4; supervisorctl of Supervisor 3 ends with 0 also where it reaches nobody",
        "warning",
        "what has run since before it (by its uptime) is restarted, and told",
        "unit/test_programs: test_what_docker_init_has_not_restarted_is_restarted, "
        "lab/test_way_round: test_what_is_merely_otherwise_ends_in_service",
    ),
    Assumption(
        "A26",
        "docker_init.sh may run on several nodes at once, where oms.init_parallel says so",
        "none: the guide has one node after the other",
        "hard",
        "1 is the default, and the first node of a region is alone; one that fails is told, no"
        " further one is begun, and MetaDB is asked for every node at the end",
        "lab/test_many_inits: test_nodes_are_initialised_side_by_side",
    ),
)
