# the addresses of this node
ip -o addr show 2>/dev/null | awk '{sub("/.*", "", $4); print $4}' || hostname -I | tr ' ' '\n'
