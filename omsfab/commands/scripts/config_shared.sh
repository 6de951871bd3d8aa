# the image's own user can read config.yaml, or need not
name=$1; path=$2
[ "$(stat -Lc %a -- "$path")" = 600 ] || exit 0
group=$(docker exec "$name" id -g ds 2>/dev/null)
case $group in '' | 0 | *[!0-9]*) exit 0; esac
printf '%s can be read by its owner alone, and not by the user ds of the image\n' "$path"
exit 1
