# what the logs have got since the last look
# Standard input: how far each file was read then, INODE OFFSET a line; $1: "first" begins at the
# end; then patterns of files.  A file under another name (rotated) has its inode still.
first=$1
shift
known=$(cat) IFS=''
for pattern in "$@"; do
  for file in $pattern; do
    [ -f "$file" ] || continue
    case $file in *.gz) continue ;; esac
    found=$(stat -c '%i %s' -- "$file") || continue
    inode=${found% *} size=${found#* }
    at=$(printf '%s\n' "$known" | sed -n "s/^$inode //p")
    if [ -z "$at" ]; then
      at=0
      [ -z "$first" ] || at=$size
    fi
    [ "$at" -le "$size" ] || at=0
    more=$((size - at)) body=-
    [ "$more" -le 1000000 ] || more=1000000
    [ "$more" -eq 0 ] ||
      body=$(tail -c "+$((at + 1))" -- "$file" | head -c "$more" | base64 | tr -d '\n')
    printf '%s %s %s %s\n' "$inode" "$((at + more))" "$body" "$file"
  done
done
exit 0
