# what the OMS documents say of such a host
# "old" = the image is older than 4.2.4, or does not tell its version.
bad=0
if [ "$1" = old ] && [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  echo 'cgroup version 2: OMS before 4.2.4 shows such a host as abnormal'; bad=1
fi
if [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = false ]; then
  echo 'live-restore of docker is off: a restart of dockerd ends OMS'; bad=1
fi
exit $bad
