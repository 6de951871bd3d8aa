# the part becomes the file
dest=$1; part=$dest.part
mv -f -- "$part" "$dest" && rm -f -- "$part.pid"
