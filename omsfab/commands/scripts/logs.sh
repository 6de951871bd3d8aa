# the newest lines of the logs, one log after the other
# $1 container, $2 lines of each, $3 since when: -SECONDS, or seconds since the epoch, $4 a text that
# they hold; then patterns of files, "docker" for the container's own log, "newest:" for one alone.
container=$1 lines=$2 since=$3 text=$4
shift 4
from='' at=0 seen='|' IFS=''
if [ -n "$since" ]; then
  case $since in -*) at=$(($(date +%s) + since)) ;; *) at=$since ;; esac
  # OMS writes the time of its container, whose zone may be another than the host's.
  from=$(docker exec "$container" date -d "@$at" '+%F %T' 2>/dev/null) ||
    from=$(date -d "@$at" '+%F %T')
fi
day='[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9][ T][0-9][0-9]:[0-9][0-9]:[0-9][0-9]'
wanted() {
  if [ -n "$text" ]; then grep -aiF -e "$text"; else cat; fi | tail -n "$lines"
}
younger() { # a line without a time of its own belongs to the one before
  awk -v from="$from" -v day="$day" '
    match($0, day) && RSTART < 40 { at = substr($0, RSTART, 19); sub("T", " ", at); on = at >= from }
    on'
}
content() { # of a file
  case $1 in *.gz) gzip -dc -- "$1" ;; *) cat -- "$1" ;; esac
}
show() { # name, text
  [ -z "$2" ] || printf '==> %s\n%s\n' "$1" "$2"
}
for pattern in "$@"; do
  newest=''
  case $pattern in
  docker)
    if [ -n "$since" ]; then
      show "docker logs $container" "$(docker logs --since "$at" "$container" 2>&1 | wanted)"
    else
      show "docker logs $container" "$(docker logs --tail "$lines" "$container" 2>&1 | wanted)"
    fi
    continue
    ;;
  newest:*)
    pattern=${pattern#newest:}
    for file in $pattern; do
      [ -f "$file" ] || continue
      if [ -z "$newest" ] || [ "$file" -nt "$newest" ]; then newest=$file; fi
    done
    [ -n "$newest" ] || continue
    ;;
  esac
  for file in ${newest:-$pattern}; do
    [ -f "$file" ] || continue
    case $seen in *"|$file|"*) continue ;; esac
    seen="$seen$file|"
    if [ -z "$since" ]; then
      if [ -n "$text" ]; then
        show "$file" "$(content "$file" | wanted)"
      else
        show "$file" "$(tail -n "$lines" -- "$file")"
      fi
      continue
    fi
    [ "$(stat -c %Y -- "$file")" -ge "$at" ] || continue
    if content "$file" | grep -aqm 1 -e "$day"; then
      show "$file" "$(content "$file" | younger | wanted)"
    else
      show "$file" "$(content "$file" | wanted)"
    fi
  done
done
exit 0
