# fetch a page
# shellcheck disable=SC2016  # the bash below has these words as its own
# `curl -f` would hide the page of an error status, and what a sick OMS says is worth reading.
# No proxy of a profile, nor one of ~/.curlrc or ~/.wgetrc, stands between a node and OMS.
url=$1; seconds=$2; host=$3; port=$4; path=$5; nl='
'
if command -v curl >/dev/null 2>&1; then
  page=$(curl -q -ksS -g --noproxy '*' -m "$seconds" -w '\n%{http_code}' -- "$url") || exit
  printf '%s\n' "${page%"$nl"*}"
  case ${page##*"$nl"} in 404) exit 44; esac
  [ "${page##*"$nl"}" -lt 400 ] || exit 22
  exit 0
fi
case $url in https:*)
  command -v wget >/dev/null 2>&1 || { echo 'https wants curl or wget here' >&2; exit 69; }
  WGETRC=/dev/null exec wget -q --no-proxy -O - -T "$seconds" -t 1 --no-check-certificate -- "$url"
esac
exec timeout "$seconds" bash -c '
  exec 3<>"/dev/tcp/$1/$2" || exit 7
  printf "GET %s HTTP/1.0\r\nHost: %s:%s\r\nConnection: close\r\n\r\n" "$3" "$1" "$2" >&3
  read -r _ status _ <&3 || exit 52
  while IFS= read -r line <&3 && [ "${line%?}" ]; do :; done
  cat <&3
  case $status in 404) exit 44; esac
  [ "${status%?}" -lt 40 ] || exit 22
' omsfab "$host" "$port" "$path"
