# shellcheck disable=SC2034  # who includes it reads these
# A file is put back only if it is still what the run wrote (BACKUP.wrote has the digests) and no
# other run has written it since, though the same content.  One that was cut off in the middle of
# the write is empty.
path=$1; backup=$2; why=
if [ -f "$backup" ]; then cmp -s -- "$backup" "$path"
elif [ -f "$backup.none" ]; then [ ! -e "$path" ]
fi || {
  for later in "$path".omsfab-*.bak.wrote; do
    [ "$later" -nt "$backup.wrote" ] && [ "$later" != "$backup.wrote" ] &&
      [ -e "$backup.wrote" ] && why="${later##*/} was written since"
  done
  [ ! -s "$path" ] || grep -qsxF -e "$(sha256sum <"$path" | cut -c1-64)" -- "$backup.wrote" ||
    why="its content is not what the run wrote"
  [ ! -f "$backup.undone" ] || why='it was put back already, and is another one again'
}
