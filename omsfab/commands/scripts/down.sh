# the container does not run
docker version >/dev/null || exit
[ "$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)" != true ]
