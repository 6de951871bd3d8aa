# What omsfab has left on a node, a line each: KIND PATH.  Names are matched whole: a file of
# somebody else's in the same directory is none of ours, and such a directory stays.
# PLACE LOGS WORD...: a word that ends with / is where packages were sent, another one a file that
# runs have written.
place=$1; logs=$2; shift 2
h='[0-9a-f]'; d='[0-9]'
hash=$h$h$h$h$h$h$h$h$h$h$h$h
run=$d$d$d$d$d$d$d${d}T$d$d$d$d$d${d}Z-
found() {
  kind=$1; shift
  for one in "$@"; do
    if [ -e "$one" ] || [ -L "$one" ]; then printf '%s %s\n' "$kind" "$one"; fi
  done
}
# shellcheck disable=SC2086  # these are patterns
left() {
  for word in "$@"; do
    case $word in
      */) found package "$word"omsfab-$hash-* ;;
      *) found backup "$word".omsfab-$run*.bak
         found trace "$word".omsfab-$run*.bak.* "$word".omsfab-$h$h$h$h$h$h$h$h.new ;;
    esac
  done
  if [ ! -L "$logs/omsfab" ]; then
    found attempt "$logs/omsfab"/$run*
    found trace "$logs/omsfab"/init.lock "$logs/omsfab"/init.lock.d
  fi
  found run "$place"/$run*
  found trace "$place"/claim "$place"/claim.[0-9]*
}
