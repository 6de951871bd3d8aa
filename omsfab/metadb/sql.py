"""Every SQL text that omsfab ever sends to a MetaDB.  Nothing else here, and no SQL elsewhere.

All of them run alike on MySQL, MariaDB and OceanBase.  ``%s`` are values, filled in by PyMySQL;
names of tables and columns come from information_schema and are quoted by ``name``.
"""

# ruff: noqa: S608  (no value of a user is ever pasted into these texts)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

OWN_SCHEMA = "omsfab"
LEASE, MARKER = "omsfab_lease", "omsfab_marker"

# STRICT: an insert fails rather than cut a value.  The rest: zero dates and id 0 survive.
SQL_MODE = "STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"

# --- session ---------------------------------------------------------------------------------

VARIABLES = "show variables where variable_name in (%s)"
SESSION = "set session {}"
# TIMESTAMP columns come and go in UTC, where no hour exists twice.
UTC = "time_zone = '+00:00'"
NO_LIMIT = f"sql_select_limit = {2**63 - 1}"
ISOLATION = ("transaction_isolation", "tx_isolation")
"""What servers call it; MariaDB before 11.1 knows the second name alone."""
# Snapshots would hide a late row from the DELETE, and with it from the row count.
READ_COMMITTED = "{} = 'READ-COMMITTED'"
REPEATABLE_READ = "set session transaction isolation level repeatable read"
BEGIN, COMMIT, ROLLBACK = "start transaction", "commit", "rollback"

FACTS = "select version(), @@version_comment, utc_timestamp(6)"
CLOCK = "select utc_timestamp(6)"
ZONE = "select utc_timestamp(6), timestampdiff(second, utc_timestamp(), now())"
WARNINGS = "show warnings"
MAX_PACKET = "select @@max_allowed_packet"
WHO_AM_I = (
    "select @@hostname, @@port, id, host from information_schema.processlist"
    " where id = connection_id()"
)
SAME_CONNECTION = (
    "select @@hostname, @@port, id, host from information_schema.processlist where id = %s"
)
KILL = "kill %s"

# Who has a transaction open?  The first of these that the engine knows answers.
OPEN_TRANSACTIONS = (
    "select id, user, host from oceanbase.V$OB_PROCESSLIST"
    " where trans_id <> 0 and id <> connection_id()",
    "select p.id, p.user, p.host from information_schema.innodb_trx t"
    " join information_schema.processlist p on p.id = t.trx_mysql_thread_id"
    " where p.id <> connection_id()",
)

CONNECTIONS = (
    "select id, user, host, db, command, time from information_schema.processlist"
    " where lower(db) in (%s, %s) and id <> connection_id() order by id"
)
# For rows that come back with the ids they had, as mysqldump does it.
UNCHECKED = "set session foreign_key_checks = 0"

# --- what is there ---------------------------------------------------------------------------

SCHEMA = "select schema_name from information_schema.schemata where lower(schema_name) = lower(%s)"
OWN_TABLES = (
    "select lower(table_schema), lower(table_name) from information_schema.tables"
    f" where lower(table_schema) in (lower(%s), '{OWN_SCHEMA}')"
    f" and lower(table_name) in ('{LEASE}', '{MARKER}')"
)


def tables(count: int) -> str:
    """Tables by schema and name, whatever their case; so many of them."""
    one = "(lower(table_schema) = lower(%s) and lower(table_name) = lower(%s))"
    return (
        "select table_schema, table_name, table_type, engine from information_schema.tables"
        f" where {' or '.join([one] * count)}"
    )


def columns(count: int) -> str:
    """The columns of so many tables."""
    return (
        "select table_schema, table_name, column_name, data_type, character_set_name, extra"
        f" from information_schema.columns where {_any_of('table_schema', 'table_name', count)}"
        " order by table_schema, table_name, ordinal_position"
    )


TRANSACTIONAL_ENGINES = "select engine from information_schema.engines where transactions = 'YES'"


def triggers(count: int) -> str:
    """Those of so many tables."""
    return (
        "select event_object_schema, event_object_table, trigger_name, event_manipulation"
        " from information_schema.triggers where "
        + _any_of("event_object_schema", "event_object_table", count)
    )


def cascades(count: int) -> str:
    """What goes or changes with rows of so many tables."""
    either = _any_of("unique_constraint_schema", "referenced_table_name", count)
    return (
        "select unique_constraint_schema, referenced_table_name, constraint_schema, table_name,"
        " constraint_name, delete_rule from information_schema.referential_constraints"
        f" where ({either}) and delete_rule not in ('RESTRICT', 'NO ACTION')"
    )


def foreign_keys(count: int) -> str:
    """The keys that refer to so many tables."""
    either = _any_of("k.referenced_table_schema", "k.referenced_table_name", count)
    return (
        "select k.referenced_table_schema, k.referenced_table_name, k.constraint_name,"
        " k.table_schema, k.table_name, k.column_name, k.referenced_column_name, r.delete_rule"
        " from information_schema.key_column_usage k"
        " join information_schema.referential_constraints r"
        " on r.constraint_schema = k.constraint_schema and r.constraint_name = k.constraint_name"
        " and r.table_name = k.table_name"
        f" where {either} order by k.table_schema, k.table_name, k.column_name"
    )


def _any_of(schema: str, table: str, count: int) -> str:
    """One of so many tables, each given by schema and name."""
    return " or ".join([f"({schema} = %s and {table} = %s)"] * count)


ID_COLUMNS = (
    "select c.table_schema, c.table_name, c.column_name from information_schema.columns c"
    " join information_schema.tables t"
    " on t.table_schema = c.table_schema and t.table_name = c.table_name"
    " where lower(c.table_schema) in (%s, %s) and lower(c.column_name) like '%%id'"
    " and t.table_type = 'BASE TABLE' order by c.table_schema, c.table_name, c.column_name"
)

# --- questions about OMS ---------------------------------------------------------------------


def oms_versions(table: str) -> str:
    return f"select version from {table}"


def clusters(table: str) -> str:
    return f"select code, region, region_cn, cm_url, is_default_cm from {table} order by code"


def hosts(host: str, group: str) -> str:
    return (
        f"select h.ip, h.host_status from {host} h join {group} g on g.id = h.resource_group_id"
        " where g.name = %s order by h.ip"
    )


def beats(table: str) -> str:
    """Ages by the clock of the database, and in its own time zone, as OMS writes them."""
    return (
        "select host_ip, min(timestampdiff(microsecond, gmt_modified, now(6)))"
        f" from {table} where task_name = 'supervisor' group by host_ip"
    )


def projects(table: str) -> str:
    return f"select project_name, project_status from {table} limit 1000"


def ha_config(table: str) -> str:
    return f"select cfg_value from {table} where cfg_name = 'ha.config'"


# --- rows: read, delete, insert --------------------------------------------------------------


@lru_cache(1024)
def name(*parts: str) -> str:
    """Quote a name, e.g. ```oms_cm`.`host```."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def exact(column: str, data_type: str) -> str:
    """The value of a column as bytes that can be written back without loss.

    A plain cast shows FLOAT with six digits on MariaDB, hence ``+ 0e0``; JSON casts by its text.
    """
    quoted = name(column)
    if data_type in {"float", "double"}:
        quoted = f"{quoted} + 0e0"
    elif data_type == "json":
        quoted = f"convert({quoted} using utf8mb4)"
    return f"cast({quoted} as binary)"


def select_rows(table: str, expressions: Sequence[str], where: str, *, lock: bool = False) -> str:
    locking = " for update" if lock else ""
    return f"select {', '.join(expressions)} from {table} where {where}{locking}"


def whole(parts: Sequence[tuple[str, Sequence[str], Sequence[str]]], limit: int) -> str:
    """All rows of several tables as one answer, which has them as of one moment.

    A part is a table, expressions for its cells, and conditions.  A row of the answer is the number
    of its part, which of the conditions hold for it, and its cells; filled up with 0 and NULL.
    """
    flags = max(len(conditions) for _, _, conditions in parts)
    width = max(len(cells) for _, cells, _ in parts)
    selects = []
    for n, (table, cells, conditions) in enumerate(parts):
        truths = [*(f"({one}) is true" for one in conditions), *["0"] * (flags - len(conditions))]
        values = [*cells, *["null"] * (width - len(cells))]
        selects.append(f"select {', '.join([str(n), *truths, *values])} from {table}")
    return f"{' union all '.join(selects)} limit {limit}"


def count(table: str, where: str) -> str:
    return f"select count(*) from {table} where {where}"


def hexadecimal(value: bytes) -> str:
    """Bytes as a literal; ``exact`` columns compare with it byte by byte."""
    return f"X'{value.hex().upper()}'"


def referring(table: str, column: str, to: str, key: str, where: str) -> str:
    """How many rows refer to those that ``where`` selects; beyond 10000 it is no matter."""
    ids = f"select {name(key)} from {to} where {where}"
    found = f"select 1 from {table} where {name(column)} in ({ids}) limit 10001"
    return f"select count(*) from ({found}) found"


def delete_rows(table: str, where: str) -> str:
    return f"delete from {table} where {where}"


def among(column: str, values: Sequence[bytes]) -> str:
    """``column in (…)``, for ids."""
    return f"{name(column)} in ({', '.join(_number(value) for value in values)})"


def move_ids(table: str, column: str, ids: Mapping[bytes, bytes]) -> str:
    """Former ids become those of now, all at once: one may be another's former one."""
    cases = " ".join(f"when {_number(a)} then {_number(b)}" for a, b in sorted(ids.items()))
    return f"update {table} set {name(column)} = case {name(column)} {cases} end where " + among(
        column, sorted(ids)
    )


def _number(value: bytes) -> str:
    return value.decode() if value.isdigit() else hexadecimal(value)


def update_value(table: str, column: str, literal: str, where: str, old: str) -> str:
    return f"update {table} set {name(column)} = {literal} where ({where}) and {old}"


def insert_row(table: str, columns: Sequence[str], literals: Sequence[str]) -> str:
    names = ", ".join(name(column) for column in columns)
    return f"insert into {table} ({names}) values ({', '.join(literals)})"


def hanging(column: str, key: str, to: str, where: str) -> str:
    """Rows that hang on those of another table that ``where`` selects."""
    return f"{name(column)} in (select {name(key)} from {to} where {where})"


def others(where: str) -> str:
    """All rows that ``where`` does not select, rows with NULL among them."""
    return f"({where}) is not true"


def of_groups(group: str, where: str) -> str:
    """The hosts of the groups that ``where`` selects, for the .sql of a backup."""
    return f"`resource_group_id` in (select `id` from {group} where {where})"


# EXPLAIN checks the rights of a statement and runs nothing.
def may_replace(table: str, columns: Sequence[str]) -> str:
    """REPLACE needs the right to delete and the right to insert."""
    names = ", ".join(name(column) for column in columns)
    return f"explain replace into {table} ({names}) select {names} from {table} where 1 = 0"


def may_update(table: str, column: str) -> str:
    return f"explain update {table} set {name(column)} = {name(column)} where 1 = 0"


# --- our own tables: lease and marker --------------------------------------------------------

CREATE_SCHEMA = f"create database if not exists {OWN_SCHEMA} default character set utf8mb4"


def create_lease(table: str) -> str:
    return (
        f"create table if not exists {table} ("
        "`cluster` varchar(128) not null primary key, `token` bigint not null,"
        " `run_id` varchar(80) not null, `owner` varchar(190) not null,"
        " `since` datetime(6) not null, `renewed` datetime(6) not null,"
        " `expires` datetime(6) not null"
        ") engine=InnoDB default charset=utf8mb4 collate=utf8mb4_bin"
    )


def create_marker(table: str) -> str:
    return (
        f"create table if not exists {table} ("
        "`run_id` varchar(80) not null, `step` varchar(80) not null, `token` bigint not null,"
        " `detail` text not null, `made` datetime(6) not null, primary key (`run_id`, `step`)"
        ") engine=InnoDB default charset=utf8mb4 collate=utf8mb4_bin"
    )


def lease_first(table: str) -> str:
    return (
        f"insert ignore into {table}"
        " (`cluster`, `token`, `run_id`, `owner`, `since`, `renewed`, `expires`) values"
        " (%s, 0, '', '', utc_timestamp(6), utc_timestamp(6), utc_timestamp(6))"
    )


def lease_read(table: str, *, lock: bool) -> str:
    return (
        "select `token`, `run_id`, `owner`, `since`, `renewed`, `expires`,"
        " `expires` > utc_timestamp(6), timestampdiff(microsecond, `renewed`, utc_timestamp(6))"
        f" from {table} where `cluster` = %s"
    ) + (" for update" if lock else "")


def lease_take(table: str) -> str:
    return (
        f"update {table} set `token` = %s, `run_id` = %s, `owner` = %s, `since` = utc_timestamp(6),"
        " `renewed` = utc_timestamp(6), `expires` = utc_timestamp(6) + interval %s second"
        " where `cluster` = %s"
    )


def lease_move(table: str) -> str:
    """As ``lease_take``, where nobody holds it."""
    return f"{lease_take(table)} and `run_id` = ''"


def lease_renew(table: str) -> str:
    return (
        f"update {table} set `renewed` = utc_timestamp(6),"
        " `expires` = utc_timestamp(6) + interval %s second"
        " where `cluster` = %s and `token` = %s and `run_id` = %s"
    )


def lease_free(table: str) -> str:
    """The token stays: it only ever grows, and that is what fences a late holder out."""
    return (
        f"update {table} set `run_id` = '', `owner` = '', `renewed` = utc_timestamp(6),"
        " `expires` = utc_timestamp(6), `token` = `token` + 1"
        " where `cluster` = %s and `token` = %s and `run_id` = %s"
    )


def markers_read(table: str, count: int) -> str:
    """Those of a run, of so many steps."""
    steps = ", ".join(["%s"] * count)
    return f"select `step`, `detail` from {table} where `run_id` = %s and `step` in ({steps})"


def marker_write(table: str) -> str:
    return (
        f"insert into {table} (`run_id`, `step`, `token`, `detail`, `made`)"
        " values (%s, %s, %s, %s, utc_timestamp(6))"
    )


def marker_drop(table: str) -> str:
    return f"delete from {table} where `run_id` = %s and `step` = %s"


# --- our own tables, and what of them is whose ---------------------------------------------------

OWN_SCHEMA_HOLDS = (
    "select lower(table_name) from information_schema.tables"
    f" where lower(table_schema) = '{OWN_SCHEMA}'"
)
DROP_SCHEMA = f"drop database {OWN_SCHEMA}"


def lease_clusters(table: str) -> str:
    return f"select `cluster` from {table} order by `cluster`"


def lease_forget(table: str) -> str:
    return f"delete from {table} where `cluster` = %s"


def marker_runs(table: str) -> str:
    return f"select distinct `run_id` from {table} order by `run_id`"


def marker_forget(table: str) -> str:
    return f"delete from {table} where `run_id` = %s"


def drop_table(table: str) -> str:
    return f"drop table {table}"
