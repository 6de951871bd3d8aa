# bytes of a file, as base64
[ -r "$1" ] || { cat -- "$1"; exit; }
tail -c "+$(($2 + 1))" -- "$1" | head -c "$3" | base64
