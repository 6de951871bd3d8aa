# print a file that is still arriving, from the offset that the asker names
place=$1; size=$2; offset=$SSH_ORIGINAL_COMMAND
case $offset in ''|*[!0-9]*) exit 2 ;; esac
read -r dest <"$place/dest" || [ "$dest" ] || exit 1
for from in "$dest.part" "$dest" ''; do [ -f "$from" ] && break; done
exec 5<"$from" || exit 1
dd bs=1 count=0 skip="$offset" <&5 2>/dev/null
at() { sed -n 's/^pos:[[:space:]]*//p' "/proc/$$/fdinfo/5"; }
still=0
while was=$(at) && [ "$was" -lt "$size" ] && [ "$still" -lt 600 ]; do
  cat <&5 || exit 1
  [ "$(at)" -gt "$was" ] && still=0 && continue
  still=$((still + 1))
  sleep 0.1
done
