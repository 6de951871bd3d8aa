# what is there of a file that is being sent
# A writer whose session was cut may still hold the part and would append old bytes to it.  What the
# asker has sent himself he need not prove now: the whole is proven at its end.
. ./lib_digest.sh
dest=$1; size=$2; ours=$3; part=$dest.part
[ -d "$dest" ] && exit 41
if read -r pid 2>/dev/null <"$part.pid"; then
  [ "$(readlink "/proc/$pid/fd/1")" = "$(readlink -f -- "$part")" ] && kill -9 "$pid"
  rm -f -- "$part.pid"
fi 2>/dev/null
if [ -f "$dest" ] && [ "$(wc -c <"$dest")" -eq "$size" ]; then
  printf 'dest %s %s\n' "$(digest <"$dest" | cut -c1-64)" "$size"
elif [ -f "$part" ]; then
  there=$(wc -c <"$part"); is=ours
  [ "$there" -le "$ours" ] && [ "$there" -lt "$size" ] || is=$(digest <"$part" | cut -c1-64)
  printf 'part %s %s\n' "$is" "$there"
fi
