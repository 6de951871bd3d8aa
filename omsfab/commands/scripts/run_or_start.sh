# docker run, or docker start where this very container was left
# A start that failed half way leaves the container: it has the same label, so it is the same one.
name=$1; label=$2; spec=$3; shift 3
there=$(docker inspect --type container --format "{{index .Config.Labels \"$label\"}}" "$name" 2>/dev/null)
[ "$there" = "$spec" ] && exec docker start "$name"
exec "$@"
