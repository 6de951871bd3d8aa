# omsfab: run one command in this container once, whoever starts this how often
# DIRECTORY OWNER LOCK NAME STEPS WORD...
dir=$1; owner=$2; lock=$3; name=$4; steps=$5; shift 5
mask=$(umask); umask 077
OMSFAB_ATTEMPT=$dir; export OMSFAB_ATTEMPT
. ./lib_running.sh

# Users of the image may have put something else in its place.
[ ! -L "${dir%/*}" ] && [ ! -L "$dir" ] && [ ! -L "$lock" ] && cd -P -- "$dir" || exit 73
[ "$(stat -c %u .)" = "$owner" ] || exit 73
# Who made the directory reads what is in it, also where that is not root.
ours() { chown -h "$(stat -c %u:%g .)" "$1" 2>/dev/null; }
say() {
  rm -f "$1.new"
  (set -C; printf '%s\n' "$2" >"$1.new")
  ours "$1.new"; mv -f "$1.new" "$1"
}
refuse() { [ -L refused ] || printf '%s\n' "$1" >>refused; ours refused; exit 75; }
locked_out() {
  sleep 1  # the one who holds the lock may be this very attempt, about to claim
  refuse "lock $(running "$name" "$steps" | head -n 1)"
}

[ -d claim ] && refuse "this attempt was started before"
if command -v flock >/dev/null 2>&1; then
  exec 9>>"$lock"
  flock -n 9 || locked_out
else
  holder=$(cat "$lock.d/owner" 2>/dev/null)
  [ -n "$holder" ] && [ "$(started "${holder% *}")" != "${holder#* }" ] && rm -rf "$lock.d"
  mkdir "$lock.d" 2>/dev/null || locked_out
  printf '%s %s\n' "$$" "$(started $$)" >"$lock.d/owner"
  trap 'rm -rf "$lock.d"' EXIT
fi
other=$(running "$name" "$steps" | head -n 1)
[ -z "$other" ] || refuse "$other"
mkdir claim 2>/dev/null || refuse "this attempt was started before"

say pid "$$ $(started $$)"
rm -f output
(set -C; : >output) || exit 73
ours output
# The script finds its modules from /root only.
(umask "$mask"; cd /root && exec "$@") >>output 2>&1 </dev/null 9>&-
say status "$?"
