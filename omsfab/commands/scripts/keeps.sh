# disk space and inodes for the copies of runs
dir=$1; while [ ! -d "$dir" ]; do dir=$(dirname -- "$dir"); done
free=$(df -Pk -- "$dir" | awk 'NR == 2 {print $4}')
inodes=$(df -Pi -- "$dir" | awk 'NR == 2 {print $2 + 0 ? $4 : 1000}')
[ "$free" -ge $(($2 / 1000)) ] ||
  { printf '%s: %s MB free, %s MB needed\n' "$dir" $((free / 1000)) $(($2 / 1000000)); exit 1; }
[ "$inodes" -ge 100 ] || { printf '%s: %s inodes free\n' "$dir" "$inodes"; exit 1; }
