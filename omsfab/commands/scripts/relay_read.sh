# print a file that is still arriving, from the offset that the asker names
place=$1; size=$2; offset=$SSH_ORIGINAL_COMMAND
case $offset in ''|*[!0-9]*) exit 2 ;; esac
read -r dest <"$place/dest" || [ "$dest" ] || exit 1
for from in "$dest.part" "$dest" ''; do [ -f "$from" ] && break; done
exec 5<"$from" || exit 1
dd bs=1 count=0 skip="$offset" <&5 2>/dev/null
where() { while read -r key at; do [ "$key" != pos: ] || return 0; done <"/proc/$$/fdinfo/5"; }
still=0
while where && [ "$at" -lt "$size" ] && [ "$still" -lt 600 ]; do
  was=$at
  cat <&5 || exit 1
  where && [ "$at" -gt "$was" ] && still=0 || still=$((still + 1))
  sleep 0.1
done
