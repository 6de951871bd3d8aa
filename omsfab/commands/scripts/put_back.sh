# put the former content back, if the file is still what the run wrote
. ./lib_whose_file.sh

umask 077
if [ -n "$why" ]; then
  [ -n "$3" ] || { printf '%s: %s; it is left alone\n' "$path" "$why"; exit 47; }
  dd if="$path" of="$backup.aside" conv=fsync bs=64k 2>/dev/null &&
    cmp -s -- "$path" "$backup.aside" || exit
  printf '%s: %s; it is kept as %s\n' "$path" "$why" "$backup.aside"
fi
if [ -f "$backup" ]; then
  dd if="$backup" of="$path" conv=fsync bs=64k 2>/dev/null && cmp -- "$backup" "$path" || exit
  if read -r owner mode 2>/dev/null <"$backup.owner" &&
      [ "$(stat -Lc '%u:%g %a' -- "$path")" != "$owner $mode" ]; then
    chown -- "$owner" "$path" && chmod -- "$mode" "$path" || exit
  fi
elif [ -f "$backup.none" ]; then
  rm -f -- "$path" || exit
else
  echo 'nothing was written here, so nothing is put back'
  exit 0
fi
[ ! -f "$backup.wrote" ] || mv -f -- "$backup.wrote" "$backup.undone"
