# the last line of the newest attempt
# shellcheck disable=SC2012  # names are of our own or the image's, and ls sorts them
cd -P -- "$1" 2>/dev/null || exit 0
newest=$(ls -td -- */claim 2>/dev/null | head -n 1)
[ -n "$newest" ] && [ ! -L "${newest%/claim}" ] && cd -P -- "${newest%/claim}" || exit 0
[ ! -s status ] && [ -f output ] && [ ! -L output ] || exit 0
printf 'claimed %s\n' "$(($(date +%s) - $(stat -c %Y claim)))"
printf 'last %s\n' "$(tail -c 4000 output | tr '\r' '\n' | grep -a . | tail -n 1)"
