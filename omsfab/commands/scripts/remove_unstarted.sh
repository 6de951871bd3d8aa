# remove the container that a failed start left
state=$(docker inspect --type container --format '{{.State.Status}}' "$1" 2>/dev/null)
[ "$state" = created ] || exit 0
exec docker rm "$1"
