# what an attempt has said so far
# The status is read before the size: if it is there, the size is the last one.  What is a link is
# not read: an attempt's files are written by no one but its wrapper.
# It is waited for, LOOKS times a fifth of a second at most, until there is more than OFFSET bytes of
# output, a status, or a refusal: who asks need not come back for each look.
dir=$1; offset=$2; most=$3; looks=$4
[ ! -L "${dir%/*}" ] && [ ! -L "$dir" ] && cd -P -- "$dir" 2>/dev/null || exit 0
there() { [ -f "$1" ] && [ ! -L "$1" ] && [ -s "$1" ]; }
more() { [ -f output ] && [ ! -L output ] && [ "$(wc -c <output)" -gt "$offset" ]; }
while [ "$looks" -gt 0 ] && ! there status && ! there refused && ! more; do
  sleep 0.2 2>/dev/null || sleep 1
  looks=$((looks - 1))
done
[ -d claim ] && [ ! -L claim ] && echo "claimed $(($(date +%s) - $(stat -c %Y claim)))"
there refused && printf 'refused %s\n' "$(head -n 1 refused)"
there pid && printf 'pid %s\n' "$(head -n 1 pid)"
there status && printf 'status %s\n' "$(head -n 1 status)"
[ -f output ] && [ ! -L output ] || exit 0
printf 'size %s\n' "$(wc -c <output)"
printf 'bytes %s\n' "$(tail -c "+$((offset + 1))" output | head -c "$most" | base64 | tr -d '\n')"
