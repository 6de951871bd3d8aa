# the container still runs
state() { docker inspect --type container --format '{{.State.Running}} {{.RestartCount}}' "$1"; }
sleep "$2"
[ "$(state "$1")" = 'true 0' ] && exit 0
docker inspect --type container --format 'status {{.State.Status}}, exit {{.State.ExitCode}} {{.State.Error}}' "$1"
docker logs --tail 50 "$1" 2>&1 | tail -n 50
exit 1
