# the time-series database answers this user as expected
# shellcheck disable=SC2016  # the bash below has these words as its own
# bash alone, since a node may have no curl; its printf is no program, so `ps` shows nothing.
said=$(timeout 10 bash -c '
  IFS= read -r auth
  exec 3<>"/dev/tcp/$1/$2" || exit 7
  printf "GET /query?q=SHOW+DATABASES HTTP/1.0\r\nHost: %s:%s\r\n" "$1" "$2" >&3
  [ -z "$auth" ] || printf "Authorization: Basic %s\r\n" "$auth" >&3
  printf "Connection: close\r\n\r\n" >&3
  head -n 1 <&3
' bash "$1" "$2" 2>&1)
case $said in *" $3 "*) exit 0;; esac
printf '%s:%s says %s, %s was expected\n' "$1" "$2" "${said:-nothing}" "$3"
exit 1
