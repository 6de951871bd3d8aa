# remove what omsfab has left on this node
# Of directories only empty ones go: one may hold a file of somebody else, or be a mount point.
. ./lib_left.sh

left "$@" | while read -r _ path; do rm -rf -- "$path"; done
[ -L "$logs/omsfab" ] || rmdir -- "$logs/omsfab" "$place" 2>/dev/null
said=$(left "$@")
[ -z "$said" ] || { printf '%s\n' "$said" >&2; exit 1; }
