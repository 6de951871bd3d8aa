# open a connection and hold it
# shellcheck disable=SC2016  # the bash below has these words as its own
exec timeout 15 bash -c '
  exec 3<>"/dev/tcp/$1/$2" || { echo "no connection to $1 port $2"; exit 1; }
  inode=$(stat -L -c %i "/proc/$$/fd/3")
  ss -Htne | grep -w "ino:$inode" | { read -r _ _ _ me _
    echo "held ${me#*ffff:}"; } | tr -d "[]"
  sleep 2
' omsfab "$1" "$2"
