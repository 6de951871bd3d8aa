# who has claimed this node
[ ! -f "$1/claim" ] || cat -- "$1/claim"
