# start the container if it is down, as after a power cut
# A node that was restarted has its container, but down: docker run had no --restart.  Its programs
# start with it, so where they were stopped on purpose they are stopped again.
. ./lib_ctl.sh

runs=$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)
case $runs in true*) exit 0; esac
docker start "$1" || exit
for _ in $(seq 60); do
  case $(ctl "$1" pid 2>/dev/null) in [1-9]*) break ;; esac
  sleep 1
done
[ -z "$2" ] || ctl "$1" stop all
