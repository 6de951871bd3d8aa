# write the file in place
# A container holds a bind-mounted file by its inode, hence `cat >`, not `mv`.  A backup that is
# there already is older, and so it is the true former content: it stays.  Where there was no file,
# BACKUP.none says so: putting back means removing then.
new=$1; path=$2; mode=$3; backup=$4; umask 077
[ -d "$path" ] && exit 41
if [ -f "$path" ] && [ ! -e "$backup" ] && [ ! -e "$backup.none" ]; then
  mkdir -p -- "$(dirname -- "$backup")" || exit 43
  dd if="$path" of="$backup.part" conv=fsync bs=64k 2>/dev/null &&
    cmp -s "$path" "$backup.part" && stat -Lc '%u:%g %a' -- "$path" >"$backup.owner" &&
    mv -f -- "$backup.part" "$backup" || exit 43
fi
if [ ! -e "$path" ]; then
  mkdir -p -- "$(dirname -- "$backup")" && : >"$backup.none" || exit 43
fi
sha256sum <"$new" | cut -c1-64 >>"$backup.wrote" || exit 43
[ -e "$path" ] || : >"$path" || exit 44
[ "$mode" = found ] || chmod -- "$mode" "$path" || exit 44
dd if="$new" of="$path" conv=fsync bs=64k 2>/dev/null || {
  [ -f "$backup" ] && cat "$backup" >"$path"; exit 44
}
sha256sum <"$path" && rm -f -- "$new"
