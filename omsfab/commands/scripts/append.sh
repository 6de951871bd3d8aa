# append what comes to the part, and tell what it holds then
# It is hashed while it grows, from its first byte on, as it is read back from the file: a write
# that failed, or one of somebody else, is in the digest as it is in the file.
. ./lib_digest.sh
dest=$1; offset=$2; part=$dest.part; umask 077
[ "$offset" -gt 0 ] || : >"$part" || exit 1
[ "$(wc -c <"$part")" -eq "$offset" ] || exit 45
exec 3<&0 4>>"$part"
(read -r me _ </proc/self/stat; echo "$me" >"$part.pid"; exec cat <&3 >&4) &
writer=$!
exec 3<&- 4>&- </dev/null
grown() {
  while [ "/proc/$writer/fd/4" -ef "$part" ]; do cat; sleep 0.05; done
  cat
}
is=$(grown <"$part" | digest | cut -c1-64)
wait "$writer" || exit
printf '%s %s\n' "$is" "$(wc -c <"$part")"
