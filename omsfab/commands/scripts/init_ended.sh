# seconds since the attempt ended
[ ! -L "$1" ] && there=$(stat -c %Y -- "$1/status") && echo "$(($(date +%s) - there))"
