# a host holds the address: it accepts the connection or refuses it
# shellcheck disable=SC2016  # the bash below has these words as its own
command -v bash >/dev/null || { echo 'bash is not on this node: nothing was asked'; exit 1; }
said=$(timeout 5 bash -c '</dev/tcp/"$1"/"$2"' bash "$1" "$2" 2>&1) && exit 0
case $said in *"Connection refused"*) exit 0;; esac
printf 'neither accepted nor refused port %s within 5 s %s\n' "$2" "${said##*: }"
exit 1
