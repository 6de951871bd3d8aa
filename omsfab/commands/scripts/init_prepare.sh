# make the attempt directory
dir=$1; umask 077
for place in "${dir%/*}" "$dir"; do
  [ ! -L "$place" ] || { printf '%s is a link\n' "$place" >&2; exit 73; }
done
mkdir -p -- "$dir" || exit
id -u
[ -d "$dir/claim" ] && exit
rm -f -- "$dir/refused"
