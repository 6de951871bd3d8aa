# points from these addresses have come in within ten minutes
# shellcheck disable=SC2016  # the bash below has these words as its own
# Which database and which tags OMS writes is not public, so any point counts that carries the
# address.  Names other than these letters would need quoting, and OMS has none.
host=$1 port=$2; shift 2
IFS= read -r auth
ask() {
  printf '%s\n' "$auth" | timeout 20 bash -c '
    IFS= read -r auth
    exec 3<>"/dev/tcp/$1/$2" || exit 7
    printf "GET /query?%s HTTP/1.0\r\nHost: %s:%s\r\n" "$3" "$1" "$2" >&3
    printf "Authorization: Basic %s\r\nConnection: close\r\n\r\n" "$auth" >&3
    cat <&3
  ' bash "$host" "$port" "$1"
}
databases=$(ask q=SHOW+DATABASES |
  grep -o '\["[A-Za-z0-9_.-]*"\]' | tr -d '"][' | grep -vx _internal)
lately='q=SELECT+*+FROM+/.*/+WHERE+time+%3E+now()+-+10m+GROUP+BY+*+LIMIT+1'
missing=
for ip in "$@"; do
  for database in $databases; do
    ask "db=$database&$lately" | grep -qwF "$ip" && continue 2
  done
  missing="$missing $ip"
done
[ -z "$missing" ] && exit 0
printf 'no point of%s within ten minutes\n' "$missing"
exit 1
