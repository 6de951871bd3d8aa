# the file can be written
# Opened for appending and closed: nothing is written, and an immutable file or a read-only file
# system says no, to root as well.
[ -f "$1" ] || { printf '%s is no file\n' "$1"; exit 1; }
said=$( (: >>"$1") 2>&1) && exit 0
printf '%s\n' "${said:-$1 cannot be written}"; exit 1
