# the container sees this very file
here=$(sha256sum <"$2") || exit 1
there=$(docker exec "$1" sha256sum "$3") || {
  # one that is down takes the file as it is when it starts
  [ "$(docker inspect --type container --format '{{.State.Running}}' "$1")" = false ]; exit
}
if [ "${here%% *}" = "${there%% *}" ]; then
  # A file that was replaced by one that says the same is another one all the same: the container
  # would not see what is written into it next.
  there=$(docker exec "$1" stat -Lc %i "$3" 2>/dev/null) || exit 0
  case $there in "$(stat -Lc %i -- "$2")" | '' | *[!0-9]*) exit 0;; esac
  printf 'the container holds another inode, which says the same: what is written here it will not see\n'
  exit 48
fi
printf 'the container still sees the former file: its bind mount holds another inode\n'
exit 48
