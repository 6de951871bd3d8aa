# the file is this one, with this mode
# A private key is no guess, so its digest may stand in the words.
[ -f "$1" ] || { printf '%s is no file\n' "$1"; exit 1; }
[ "$(stat -c %a "$1")" = "$3" ] || { printf '%s has mode %s\n' "$1" "$(stat -c %a "$1")"; exit 1; }
sum=$(sha256sum <"$1"); [ "${sum%% *}" = "$2" ] || { printf '%s is another file\n' "$1"; exit 1; }
