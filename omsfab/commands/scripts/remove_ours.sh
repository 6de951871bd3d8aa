# stop and remove the container, if it is the one that the run made
# One that somebody else made stays.  -v is not given: data is kept.  By its id, so that none that
# comes in between is meant.
. ./lib_whose.sh

[ -n "$said" ] || exit 0
[ -n "$ours" ] || { printf '%s: left alone\n' "$other"; exit 0; }
docker stop -t 60 "$id" && docker rm "$id"
