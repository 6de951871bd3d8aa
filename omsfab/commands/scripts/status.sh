# container, programs, health
. ./lib_ctl.sh

docker inspect --type container --format   '{{.Name}} {{.State.Status}} since {{.State.StartedAt}} image {{.Image}}' "$1" ||
  exit 0
ctl "$1" status
exit 0
