# end the initialisation that omsfab began, and all that belongs to it
# shellcheck disable=SC2046,SC2086,SC2116  # lists of process ids are split on purpose
# Those of an attempt: by the mark in their environment, which names the directory of attempts, by
# the lock they hold, by their parents and sessions.  supervisord and its programs are not, whoever
# started it.
lock=$1
marked() {
  for p in /proc/[0-9]*; do
    pid=${p#/proc/}
    [ "$pid" != 1 ] && [ "$pid" != $$ ] || continue
    if tr '\0' '\n' <"$p/environ" 2>/dev/null | grep -qF -e "OMSFAB_ATTEMPT=${lock%/*}/"; then
      echo "$pid"; continue
    fi
    for f in "$p"/fd/*; do
      [ "$f" -ef "$lock" ] && { echo "$pid"; break; }
    done
  done 2>/dev/null
}

tree() {
  all=" $* "
  [ -n "$*" ] || return 0
  while :; do
    more=
    for p in /proc/[0-9]*; do
      IFS= read -r line <"$p/stat" || continue
      pid=${p#/proc/}
      set -- ${line##*) }
      case $all in *" $pid "*) continue ;; esac
      case $all in *" $2 "* | *" $4 "*) more="$more$pid " ;; esac
    done 2>/dev/null
    [ -n "$more" ] || break
    all="$all$more"
  done
  echo $all
}
daemons() {
  for p in /proc/[0-9]*; do
    tr '\0' '\n' <"$p/cmdline" | head -n 2 | grep -qxE '(.*/)?supervisord' && echo "${p#/proc/}"
  done 2>/dev/null
}
ours() {
  keep=" 1 $$ $(tree $(daemons)) "
  for pid in $(tree $(marked)); do
    case $keep in *" $pid "*) ;; *) echo "$pid" ;; esac
  done
}
alive() {
  for pid in "$@"; do
    case $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) in '' | Z* | X*) ;; *) echo "$pid" ;; esac
  done
}
pids=$(alive $(ours))
[ -z "$pids" ] || echo "ended $(echo $pids)"
for signal in TERM KILL KILL KILL; do
  [ -n "$pids" ] || break
  kill -s "$signal" $pids 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    pids=$(alive $pids)
    [ -n "$pids" ] || break
    sleep 0.5
  done
  pids=$(alive $(ours))
done
[ -z "$pids" ] || echo "left $(echo $pids)"
if command -v flock >/dev/null 2>&1; then
  [ ! -e "$lock" ] || flock -n "$lock" true && echo free
else
  holder=$(cat "$lock.d/owner" 2>/dev/null)
  [ -n "$(alive ${holder% *})" ] || { rm -rf "$lock.d"; echo free; }
fi
true
