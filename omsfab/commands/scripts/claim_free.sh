# free the claim of a run on this node
[ "$(sed -n 1p "$1/claim" 2>/dev/null)" != "$2" ] || rm -f -- "$1/claim"
