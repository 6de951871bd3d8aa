# append what comes to the part
dest=$1; offset=$2; part=$dest.part; umask 077
[ "$offset" -gt 0 ] || : >"$part" || exit 1
[ "$(wc -c <"$part")" -eq "$offset" ] || exit 45
echo $$ >"$part.pid"
exec cat >>"$part"
