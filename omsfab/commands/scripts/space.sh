# room and inodes, summed up per file system
# Two directories of one file system share its room, hence the sum per device.  Some file systems
# have no fixed number of inodes: they show 0 of 0, or "-".
root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null); image=$1; shift
[ -d "$root" ] && set -- "$@" "$root" "$image"
while [ $# -gt 1 ]; do
  dir=$1; while [ ! -d "$dir" ]; do dir=$(dirname -- "$dir"); done
  printf '%s %s %s %s %s\n' "$(stat -Lc %d -- "$dir")" "$2" \
    "$(df -Pk -- "$dir" | awk 'NR == 2 {print $4}')" \
    "$(df -Pi -- "$dir" | awk 'NR == 2 {print $2 + 0 ? $4 : "-"}')" "$dir"
  shift 2
done | awk '
  { need[$1] += $2 / 1e6; free[$1] = $3 / 1e3; inodes[$1] = $4; dirs[$1] = dirs[$1] " " $5 }
  END {
    for (d in need) {
      if (free[d] < need[d]) {
        printf "%.0f MB free, %.0f MB needed for%s\n", free[d], need[d], dirs[d]; bad = 1
      }
      if (inodes[d] != "-" && inodes[d] + 0 < 1000) {
        printf "%s inodes free for%s\n", inodes[d], dirs[d]; bad = 1
      }
    }
    exit bad
  }'
