# processes of this container that are OMS's or hold one of these ports
# Without ss, which an image need not have.  What comes from no program, is no user's of OMS and
# holds no port of OMS is left out: our own shell, say.
held=$({
  for port; do printf 'port %s %04X\n' "$port" "$port"; done
  cat /proc/net/tcp /proc/net/tcp6
  ls -l /proc/[0-9]*/fd
} 2>/dev/null | awk '
  $1 == "port" { name[$3] = $2; next }
  $4 == "0A" { split($2, at, ":"); if (at[2] in name) port[$10] = name[at[2]]; next }
  /^\/proc\/[0-9]+\/fd:$/ { split($0, at, "/"); pid = at[3]; next }
  $NF ~ /^socket:\[[0-9]+\]$/ {
    inode = substr($NF, 9, length($NF) - 9)
    if (inode in port && !seen[pid, inode]++) { print pid, port[inode]; found[port[inode]] = 1 }
  }
  END { for (i in port) if (!(port[i] in found) && !told[port[i]]++) print "-", port[i] }
')
printf '%s\n' "$held" | sed -n 's/^- /outside /p'
{
  printf '%s\n' "$held" | sed -n 's/ .*//p'
  grep -las SUPERVISOR_PROCESS_NAME= /proc/[0-9]*/environ | cut -d / -f 3
  stat -c '%n %U' /proc/[0-9]* 2>/dev/null | sed -nE 's,^/proc/([0-9]+) (ds|admin)$,\1,p'
} | grep -x '[0-9]*' | sort -un | while read -r pid; do
  words=$(tr '\0\t\n' '   ' <"/proc/$pid/cmdline" 2>/dev/null | head -c 4000)
  [ -n "$words" ] || continue
  program=$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null |
    sed -n 's/^SUPERVISOR_PROCESS_NAME=//p')
  printf 'process\t%s\t%s\t%s\t%s\t%s\t%s\n' "$pid" "$(stat -c %U "/proc/$pid" 2>/dev/null)" \
    "$program" "$(printf '%s\n' "$held" | sed -n "s/^$pid //p" | tr '\n' ' ')" \
    "$(readlink "/proc/$pid/cwd" 2>/dev/null)" "$words"
done
true
