# remove the part
rm -f -- "$1.part" "$1.part.pid" "$1.part.fifo"
