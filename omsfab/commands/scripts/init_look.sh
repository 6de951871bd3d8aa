# is the attempt's wrapper alive, does the script run
# ATTEMPT: a flag file that is younger than its claim is its own.  Whether the start is over is asked
# where the seventh word is there: which interpreters run a script that mentions this one, and for
# how many seconds supervisord has had a program.
. ./lib_running.sh

[ -z "$7" ] || {
  grep -lasE '^([^ ]*/)?(sh|bash|dash|ash|python[0-9.]*)' /proc/[0-9]*/cmdline | while IFS= read -r file; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    tr '\0' '\n' 2>/dev/null <"$file" | head -n 3 | tail -n +2 | while IFS= read -r word; do
      case $word in "$3" | */"$3" | -*) continue ;; esac
      case $word in /*) ;; *) word=/proc/$pid/cwd/$word ;; esac
      [ -f "$word" ] && grep -aqsF -e "$3" -- "$word" && printf 'pending %s %s\n' "$pid" "$word"
    done
  done
  grep -las SUPERVISOR_PROCESS_NAME= /proc/[0-9]*/environ | cut -d / -f 3 | while read -r pid; do
    started "$pid"
  done | sort -n | head -n 1 | while read -r ticks; do
    printf 'programs %s\n' "$(awk -v t="$ticks" -v hz="$(getconf CLK_TCK 2>/dev/null || echo 100)" \
      '{printf "%.0f", $1 - t / hz}' /proc/uptime)"
  done
}
[ -n "$1" ] && [ "$(started "$1")" = "$2" ] && echo alive
running "$3" "$4" | sed 's/^/running /'
[ -s "$5" ] && printf 'flag %s\n' "$(stat -c %Y "$5")"
[ -n "$6" ] && [ -s "$5" ] && [ "$5" -nt "$6/claim" ] && echo fresh
for word in $(tr '\0' ' ' </proc/1/cmdline 2>/dev/null); do
  [ -f "$word" ] && grep -aqsF -e "$3" -- "$word" && echo entry
done
grep -raqsF -e "$3" /etc/supervisord.conf /etc/supervisor* 2>/dev/null && echo entry
true
