# remove what omsfab has left on this node
. ./lib_left.sh

left "$@" | while read -r kind path; do
  case $kind,$path in
    "trace,$place") rm -f -- "$place"/claim "$place"/claim.[0-9]*; rmdir -- "$path" ;;
    "trace,$logs/omsfab") rmdir -- "$path" ;;
    *) rm -rf -- "$path" ;;
  esac
done
said=$(left "$@")
[ -z "$said" ] || { printf '%s\n' "$said" >&2; exit 1; }
