# has this container initialised itself
# shellcheck disable=SC2012  # names are of our own or the image's, and ls sorts them
. ./lib_decides.sh
state=$(docker inspect --type container --format '{{.State.Running}} {{.State.StartedAt}}' "$1") || exit
printf 'state %s\n' "$state"
printf 'now %s\n' "$(date +%s)"
docker exec "$1" sh -c "$2" omsfab '' '' "$3" "$4" "$5" '' start || exit
# After what runs: what has ended meanwhile has left its signs by now.
docker logs --since "${state#* }" --tail 200 "$1" 2>&1 | tr -d '\r' | grep -aF -e "$6" | tail -n 1 |
  sed 's/^/log /'
# Only what is a plain file; the image's users may write here.
newest=$(ls -t -- "$7"/docker_init*.log* 2>/dev/null | head -n 1)
if [ -n "$newest" ] && [ -f "$newest" ] && [ ! -L "$newest" ]; then
  printf 'initlog %s\n' "$(stat -c %Y -- "$newest")"
  decides "$newest" | tail -n 50 | sed 's/^/said /'
fi
true
