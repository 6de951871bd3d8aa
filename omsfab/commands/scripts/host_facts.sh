# the host: system, clock, memory, disks, ports, containers
for words in 'uname -a' 'cat /etc/os-release' 'date --rfc-3339=ns' 'uptime' 'nproc' 'free -m' 'df -h' \
  'docker version' 'docker info' 'docker ps -a --no-trunc' 'docker images --no-trunc' \
  'ss -ltnp' 'ps -eo pid,ppid,user,lstart,rss,args --sort=-rss'; do
  printf '### %s\n' "$words"
  # shellcheck disable=SC2086  # words of this script
  $words 2>&1 | head -n 300
done
exit 0
