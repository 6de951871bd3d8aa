# what an attempt has said so far
# The status is read before the size: if it is there, the size is the last one.  What is a link is
# not read: an attempt's files are written by no one but its wrapper.
dir=$1; offset=$2; most=$3
[ ! -L "${dir%/*}" ] && [ ! -L "$dir" ] && cd -P -- "$dir" 2>/dev/null || exit 0
there() { [ -f "$1" ] && [ ! -L "$1" ] && [ -s "$1" ]; }
[ -d claim ] && [ ! -L claim ] && echo "claimed $(($(date +%s) - $(stat -c %Y claim)))"
there refused && printf 'refused %s\n' "$(head -n 1 refused)"
there pid && printf 'pid %s\n' "$(head -n 1 pid)"
there status && printf 'status %s\n' "$(head -n 1 status)"
[ -f output ] && [ ! -L output ] || exit 0
printf 'size %s\n' "$(wc -c <output)"
printf 'bytes %s\n' "$(tail -c "+$((offset + 1))" output | head -c "$most" | base64 | tr -d '\n')"
