#!/bin/bash
# Initialise OMS: metadata database, component configuration, restart, resources.
cd /root || exit 1
lab=/home/admin/logs/.lab
mkdir -p "$lab"
knob() { cat /usr/lib/omslab/profile "$lab/knobs" 2>/dev/null | sed -n "s/^$1=//p" | tail -n 1; }

# --- counters for the tests, before anything else can happen
stamp=$(date +%s.%N)
echo "$stamp $$" >>"$lab/init.started"
exec 9>"$lab/init.lock"
flock -n 9 || echo "$(date +%s.%N) $$ here" >>"$lab/init.overlap"
ended=0
trap 'rc=$?; finish "$rc"' EXIT
finish() {
    # On a full disk it waits for room: a row that is missing would count as one that still runs.
    until [ "$ended" = 1 ] || echo "$(date +%s.%N) $$ $1 $stamp" >>"$lab/init.ended"; do
        sleep 0.5
    done 2>/dev/null
    ended=1
    rm -f /tmp/.lab-step-4
    # Its row must be closed before the next run begins, or that would seem to overlap.
    wait "$watch"
    # The log is whole before the script has ended, so that no reader misses the last lines.
    exec >&- 2>&-
    wait "$tee" 2>/dev/null
}
python -m omslab.watch $$ "$stamp" </dev/null >/dev/null 2>&1 9>&- &
watch=$!

log=/home/admin/logs/docker_init.log.$(date +%Y-%m-%d.%H:%M:%S)
exec 3>&1
exec > >(exec tee -a "$log" >&3 9>&-) 2>&1
tee=$!
exec 3>&-
[ "$(knob INIT_XTRACE)" != 1 ] || set -x

line=$(printf -- '-%.0s' {1..195})
seconds=$(knob INIT_SECONDS)
programs="nginx oms_console oms_drc_cm oms_drc_supervisor sshd"
[ "$(knob CROND)" != 1 ] || programs="crond $programs"

head() { printf '%s\n# %s\n%s\n' "$line" "$1" "$line"; }
pause() { sleep "$(awk "BEGIN { print ${seconds:-3} * $1 / 100 }")" 9>&-; }
fail() { echo "init failed!"; exit 1; }
# Echo a command and run it.
step() { echo "$*"; "$@" 9>&- || fail; }
trouble() {
    # Two processes below it, so that whoever kills the script alone leaves what it has opened.
    [ "$(knob INIT_HANG)" != "$1" ] || python -c \
        'import subprocess; subprocess.run(["sleep", "3600"], close_fds=False)' 9>&-
    if [ "$(knob INIT_FAIL_STEP)" = "$1" ]; then
        echo "ERROR: step $1 cannot be done: as the lab was told" >&2
        fail
    fi
}

head "【步骤一】校验 config.yaml 配置文件"
trouble 1
step python -m omsflow.scripts.units.oms_cluster_config --check /home/admin/conf/config.yaml
[ "$(knob INIT_SECRET)" != 1 ] || sed -n 's/^.*oms_meta_password.*: */oms_meta_password = /p' \
    /home/admin/conf/config.yaml
pause 5

head "【步骤二】创建 OMS 元信息库"
trouble 2
step python -m omsflow.scripts.units.oms_init_manager --init-db
[ "$(knob INIT_BYTES)" != 1 ] || printf 'legacy \xe9\xff\xfe\x80 \xc4\xe3\xba\xc3 \xe4\xb8\n'
pause 20

head "【步骤三】创建 OMS 各组件的配置文件"
trouble 3
step python -m omsflow.scripts.units.oms_init_manager --init-config-file
flood=$(knob INIT_FLOOD_MB)
[ -z "$flood" ] || yes "WARN component configuration: nothing to be said, and often" |
    command head -c "$((flood * 1048576))" >&2
pause 10

if [ "$(knob BRACKETS)" = full ]; then
    head "【步骤四】重启 OMS 所有组件（大约需要两分钟，请耐心等待）"
else
    head "【步骤四】重启 OMS 所有组件 (大约需要两分钟，请耐心等待)"
fi
trouble 4
ctl() { supervisorctl "$@"; }
if [ "$(knob INIT_NO_DAEMON)" = 1 ]; then
    ctl() { supervisorctl -s http://127.0.0.1:1 "$@"; }
fi
echo "supervisorctl restart $programs"
: >/tmp/.lab-step-4
# supervisorctl of Supervisor 3 ends with 0 also where a program does not start: nobody notices.
# shellcheck disable=SC2086
ctl restart $programs 9>&- || fail
rm -f /tmp/.lab-step-4
pause 40
for _ in 1 2; do
    echo "supervisorctl status $programs"
    # shellcheck disable=SC2086
    ctl status $programs 9>&- || fail
    pause 5
done

head "【步骤五】初始化 OMS 资源标签和资源组"
trouble 5
step python -m omsflow.scripts.units.oms_cluster_manager add_resource
pause 15

sentence="【结束】全部初始化步骤执行成功"
zh="# $sentence"
status=$(knob INIT_EXIT)
flag=$(knob INIT_FLAG)
[ "${flag:-1}" != 1 ] || date >/root/init_flag.txt
date >/root/.lab-initialised
frame() { echo "$line"; }
case $(knob BANNER) in bare | prefix | framed) frame() { :; } ;; esac
frame
case $(knob BANNER) in
    en) echo "# [Completed] All initialization steps are executed." ;;
    none) echo "# done" ;;
    # Cut in the middle of 化, whose three bytes are e5 8c 96.
    split)
        printf '# 【结束】全部初始\xe5\x8c'
        sleep 1
        printf '\x96步骤执行成功\n'
        ;;
    ansi) printf '\033[1;32m%s\033[0m\n' "$zh" ;;
    cr) printf 'progress 99%%\r%s\r\n' "$zh" ;;
    echo) echo "+ echo '$zh'" ;;
    bare) echo "$sentence" ;;
    excl) echo "$zh！" ;;
    dashes) echo "$zh----" ;;
    prefix) echo "$(date '+%Y-%m-%d %H:%M:%S'),146-Oms-INFO units.docker_init.112 :$sentence" ;;
    framed) printf '%s\n*** %s ***\n%s\n' "${line//-/*}" "$sentence" "${line//-/*}" ;;
    *) echo "$zh" ;;
esac
frame
exit "${status:-0}"
