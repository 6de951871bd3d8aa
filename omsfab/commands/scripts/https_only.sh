# the console speaks HTTPS only, with this certificate (if openssl can look)
# shellcheck disable=SC2016  # the bash below has these words as its own
said=$(timeout 10 bash -c '
  exec 3<>"/dev/tcp/$1/$2" || exit 0
  printf "GET /oms/health HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" >&3; head -n 1 <&3
' bash "$1" "$2" 2>/dev/null | tr -d '\0\r')
case $said in *' 200 '*) printf 'port %s answers plain HTTP\n' "$2"; exit 1;; esac
[ -n "$3" ] && command -v openssl >/dev/null || exit 0
sum=$(timeout 10 openssl s_client -connect "$1:$2" </dev/null 2>/dev/null |
  openssl x509 -outform DER 2>/dev/null | sha256sum)
[ "${sum%% *}" = "$3" ] && exit 0
printf 'port %s shows another certificate\n' "$2"; exit 1
