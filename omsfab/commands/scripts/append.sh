# append what comes to the part, and tell what it holds then
# It is hashed while it grows, from its first byte on, as it is read back from the file: a write
# that failed, or one of somebody else, is in the digest as it is in the file.
# A reader ("$5" and on) has it meanwhile, without its last bytes: these, and its end, come when the
# whole has the digest that it shall have.  Otherwise the reader is killed, for an end would be one.
. ./lib_digest.sh
dest=$1; offset=$2; size=$3; sha256=$4; part=$dest.part; umask 077
shift 4
[ "$offset" -gt 0 ] || : >"$part" || exit 1
[ "$(wc -c <"$part")" -eq "$offset" ] || exit 45
exec 3<&0 4>>"$part"
exec 5<"$part"
(read -r me _ </proc/self/stat; echo "$me" >"$part.pid"; exec cat <&3 >&4) &
writer=$!
exec 3<&- 4>&- </dev/null
grown() {
  while [ "/proc/$writer/fd/4" -ef "$part" ]; do cat; sleep 0.05; done
  cat
}
reader=; early=$((size > 4194304 ? size - 4194304 : 0))
if [ $# -gt 0 ] && rm -f -- "$part.fifo" && mkfifo -- "$part.fifo"; then
  "$@" <"$part.fifo" >/dev/null 2>&1 5<&- &
  reader=$!
  exec 6>"$part.fifo"
  rm -f -- "$part.fifo"
  grown <"$part" 2>/dev/null | head -c "$early" >&6 2>/dev/null &
  feeder=$!
fi
is=$(grown <"$part" | digest | cut -c1-64)
wait "$writer"; status=$?
there="$is $(wc -c <"$part")"
[ "$status" -ne 0 ] || echo "$there"
if [ "$reader" ]; then
  (exec 5<&- 6>&-; while sleep 1 >&-; do echo; done) &
  beating=$!
  proven() { [ "$status $there" = "0 $sha256 $size" ]; }
  if ! { proven && wait "$feeder" && tail -c "+$((early + 1))" <&5 >&6; }; then
    kill -9 "$reader"
  fi
  exec 6>&-
  wait "$reader"
  kill "$beating"
  wait
fi 2>/dev/null
exit "$status"
