# the address is bound on this node
ip -o addr show | awk '{sub("/.*", "", $4); print $4}' | grep -Fxq -- "$1" && exit 0
printf 'addresses here: %s\n' "$(ip -o -4 addr show | awk '{sub("/.*", "", $4); print $4}' | tr '\n' ' ')"
exit 1
