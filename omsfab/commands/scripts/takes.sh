# files can be written here as omsfab writes them
# Root is told by -w of a read-only mount, and by lsattr of what even root may not change.
bad=0
tell() { printf '%s %s\n' "$1" "$2"; bad=1; }
guarded() {
  flags=$(lsattr -d -- "$1" 2>/dev/null | awk '{print $1}')
  case $flags in *i*) tell "$1" 'is immutable (lsattr: i)';; esac
  case $flags in *a*) tell "$1" 'is append-only (lsattr: a)';; esac
}
for path; do
  [ -d "$path" ] || [ ! -e "$path" ] || { [ -f "$path" ] || tell "$path" 'is no file'
    [ ! -f "$path" ] || [ -w "$path" ] || tell "$path" 'cannot be written'
    guarded "$path"; path=$(dirname -- "$path"); }
  while [ ! -e "$path" ]; do path=$(dirname -- "$path"); done
  [ -d "$path" ] || { tell "$path" 'is no directory'; continue; }
  case ,$(findmnt -no OPTIONS -T "$path" 2>/dev/null), in
    *,ro,*) tell "$path" 'is on a read-only mount';;
    *) [ -w "$path" ] || tell "$path" "cannot be written by $(id -un)";;
  esac
  guarded "$path"
  # quota -w: a line per file system, blocks in the second field, files behind the four of blocks,
  # the last of which (grace) may be blank; over its limit is what has a star.
  source=$(findmnt -no SOURCE -T "$path" 2>/dev/null)
  if [ -n "$source" ] && quota -w 2>/dev/null | FROM=${source%%\[*} awk '
    $1 == ENVIRON["FROM"] && ($2 ~ /[*]$/ || $5 ~ /[*]$/ || $6 ~ /[*]$/) { found = 1 }
    END { exit !found }'
  then tell "$path" "is on ${source%%\[*}, which is over the quota of $(id -un)"
  fi
done
exit $bad
