# what omsfab has left on this node
. ./lib_left.sh

left "$@"
