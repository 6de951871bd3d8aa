# files can be written here as omsfab writes them
# Root is told by -w of a read-only mount, and by lsattr of what even root may not change.
bad=0
told=
tell() {  # each once: all mounts may lie below one directory
  bad=1
  case $told in *"|$1 $2|"*) return;; esac
  told="$told|$1 $2|"
  printf '%s %s\n' "$1" "$2"
}
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
  # The last line: what is mounted over it hides what was there before.
  case ,$(findmnt -no OPTIONS -T "$path" 2>/dev/null | tail -n 1), in
    *,ro,*) tell "$path" 'is on a read-only mount';;
    *) [ -w "$path" ] || tell "$path" "cannot be written by $(id -un)";;
  esac
  guarded "$path"
  # quota -w: a line per file system, blocks in the second field, files behind the four of blocks,
  # the last of which (grace) may be blank; over its limit is what has a star.
  source=$(findmnt -no SOURCE -T "$path" 2>/dev/null | tail -n 1)
  if [ -n "$source" ] && quota -w 2>/dev/null | FROM=${source%%\[*} awk '
    $1 == ENVIRON["FROM"] && ($2 ~ /[*]$/ || $5 ~ /[*]$/ || $6 ~ /[*]$/) { found = 1 }
    END { exit !found }'
  then tell "$path" "is on ${source%%\[*}, which is over the quota of $(id -un)"
  fi
done
exit $bad
