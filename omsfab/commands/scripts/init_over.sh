# no initialisation runs in the container
# A unit alone may be the entry script's, at each start: its end is waited for.
for again in $(seq 30) last; do
  running=$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)
  [ "$running" = true ] || exit 0
  found=$(docker exec -i "$1" sh -s '' '' "$2" "$3" '' '') || exit "$4"
  found=$(printf '%s\n' "$found" | sed -n 's/^running /pid /p')
  [ -n "$found" ] || exit 0
  printf '%s\n' "$found" | grep -qv ', unit$' && break
  [ "$again" = last ] || sleep 2
done
printf '%s\n' "$found" >&2
exit 1
