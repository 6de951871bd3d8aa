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
done
if command -v quota >/dev/null 2>&1; then
  over=$(quota -w 2>/dev/null | awk '$2 ~ /\*/ || $5 ~ /\*/ {print $1}')
  [ -z "$over" ] || tell "$over" "is over the quota of $(id -un)"
fi
exit $bad
