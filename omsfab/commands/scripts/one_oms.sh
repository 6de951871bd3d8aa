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
if docker exec "$name" test -S /tmp/supervisor.sock 2>/dev/null; then
  own=$(programs -s unix:///tmp/supervisor.sock); said=$(programs)
  if [ -n "$own" ] && [ -n "$said" ] && [ "$own" != "$said" ] && sleep 1 &&
    [ "$(programs -s unix:///tmp/supervisor.sock)" != "$(programs)" ]; then
    printf 'supervisorctl in %s speaks to the supervisord of another container\n' "$name"; bad=1
  fi
fi
exit $bad
