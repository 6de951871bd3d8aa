# no other image has this name
is=$(docker image inspect --format '{{.Id}}' "$1" 2>/dev/null) || exit 0
[ "$is" = "$2" ] && exit 0
printf '%s is %s here\n' "$1" "$is"; exit 1
