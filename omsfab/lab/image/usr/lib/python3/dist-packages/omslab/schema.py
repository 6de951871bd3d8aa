"""The tables: columns as far as they are public, the rest plausible."""

from __future__ import annotations

ID = "id bigint not null auto_increment primary key"
TIMES = (
    "gmt_created datetime not null default current_timestamp, "
    "gmt_modified datetime not null default current_timestamp"
)

RM = {
    "cluster_info": f"{ID}, region varchar(128), region_cn varchar(128), "
    "cm_url varchar(512) not null, code int not null, is_default_cm tinyint not null default 0, "
    f"{TIMES}, unique key uk_code (code)",
    "oms_normal_config": f"{ID}, cfg_name varchar(128) not null, cfg_value text, {TIMES}, "
    "unique key uk_name (cfg_name)",
    "oms_version": "version varchar(64) not null primary key, gmt_modified datetime not null",
    "oms_user": f"{ID}, name varchar(64) not null, login_failure_times int not null default 0, "
    f"is_locked tinyint not null default 0, {TIMES}, unique key uk_name (name)",
    "oms_project": f"{ID}, project_id varchar(64), project_name varchar(128), "
    f"project_status varchar(32), {TIMES}",
}
CM = {
    "resource_group": f"{ID}, name varchar(64) not null, description varchar(256), {TIMES}, "
    "unique key uk_name (name)",
    "host": f"{ID}, ip varchar(64) not null, resource_group_id bigint not null, "
    "host_status varchar(32) not null default 'OFFLINE', cpu_total int, memory_total bigint, "
    f"{TIMES}, unique key uk_ip (ip)",
    "location_cm": f"{ID}, location varchar(32) not null, cm_url varchar(512) not null, "
    f"region varchar(128), is_active tinyint not null default 1, {TIMES}, "
    "unique key uk_location (location)",
    "config_job": f"{ID}, `key` varchar(128) not null, value text, {TIMES}, "
    "unique key uk_key (`key`)",
}
HEARTBEAT = {
    "heart_beat": f"{ID}, task_name varchar(64) not null, task_type varchar(64), "
    f"host_ip varchar(64) not null, {TIMES}, key k_task (task_name, host_ip)",
    "heatbeat_sequence": f"{ID}, gmt_created datetime not null, gmt_modified datetime not null",
}

# Defaults of the vendor's system management page.
HA_CONFIG = {
    "enable": False,
    "enableHost": False,
    "enableStore": True,
    "enableConnector": True,
    "enableJdbcWriter": True,
    "perceiveStoreClientCheckpoint": False,
    "subtopicStoreNumberThreshold": 5,
    "checkRequestIntervalSec": 600,
    "checkJdbcWriterIntervalSec": 600,
    "checkHostDownIntervalSec": 540,
    "checkModuleExceptionIntervalSec": 240,
    "clearAbnormalResourceHours": 72,
    "refetchStoreIntervalMin": 30,
}
