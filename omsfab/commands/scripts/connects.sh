# a TCP connection can be opened
# shellcheck disable=SC2016  # the bash below has these words as its own
command -v bash >/dev/null || { echo 'bash is not on this node: nothing was asked'; exit 1; }
timeout 5 bash -c '</dev/tcp/"$1"/"$2"' bash "$1" "$2" 2>/dev/null && exit 0
printf 'no connection to %s port %s within 5 s\n' "$1" "$2"
exit 1
