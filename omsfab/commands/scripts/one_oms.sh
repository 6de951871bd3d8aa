# no other OMS runs on this host
# 8084 is one per host with --net host, and supervisorctl goes there unless told otherwise.
name=$1; bad=0
for id in $(docker ps -q --no-trunc); do
  row=$(docker inspect --type container \
    --format '{{.Name}}{{range .Mounts}} {{.Destination}}{{end}}' "$id" 2>/dev/null) || continue
  other=${row%% *}; other=${other#/}
  [ "$other" = "$name" ] && continue
  case "$row " in
    *" /home/admin/conf/config.yaml "* | *" /home/ds/store "* | *" /home/ds/run "*)
      printf 'container %s runs with the mounts of an OMS\n' "$other"; bad=1; continue;;
  esac
  docker exec "$other" sh -c '[ -f /root/docker_init.sh ]' 2>/dev/null &&
    { printf 'container %s runs, and has /root/docker_init.sh\n' "$other"; bad=1; }
done
programs() { docker exec "$name" supervisorctl "$@" status 2>/dev/null |
  sed -n 's/^\([^ ]*\).*pid \([0-9]*\),.*/\1 \2/p'; }
# A program that crashes again and again has another pid at each look, also with one supervisord:
# so what counts is a program that has kept its pid by the socket, and has another one by the port.
if docker exec "$name" test -S /tmp/supervisor.sock 2>/dev/null; then
  own=$(programs -s unix:///tmp/supervisor.sock); said=$(programs)
  kept=; [ "$own" = "$said" ] ||
    kept=$({ printf '%s\n' "$own"; programs -s unix:///tmp/supervisor.sock; } | sort | uniq -d)
  printf '%s\n' "$said" | while read -r program pid; do
    case "$kept
" in *"$program $pid
"*) ;; *"$program "*) exit 1;; esac
  done || {
    printf 'supervisorctl in %s speaks to the supervisord of another container\n' "$name"; bad=1
  }
fi
exit $bad
