# there is no such container
docker version >/dev/null || exit
! docker inspect --type container --format '{{.State.Status}}' "$1" 2>/dev/null
