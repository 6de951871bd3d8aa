# is the attempt's wrapper alive, does the script run
# ATTEMPT: a flag file that is younger than its claim is its own.
. ./lib_running.sh

[ -n "$1" ] && [ "$(started "$1")" = "$2" ] && echo alive
running "$3" "$4" | sed 's/^/running /'
[ -s "$5" ] && printf 'flag %s\n' "$(stat -c %Y "$5")"
[ -n "$6" ] && [ -s "$5" ] && [ "$5" -nt "$6/claim" ] && echo fresh
for word in $(tr '\0' ' ' </proc/1/cmdline 2>/dev/null); do
  [ -f "$word" ] && grep -aqsF -e "$3" -- "$word" && echo entry
done
grep -raqsF -e "$3" /etc/supervisord.conf /etc/supervisor* 2>/dev/null && echo entry
true
