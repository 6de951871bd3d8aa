# shellcheck disable=SC2034  # who includes it reads these
# A container has one spec however often it is made: whose it is, says the label of the run; that of
# an earlier omsfab has none, and is known by the id that docker said when it was made.
show='{{.Id}} s={{index .Config.Labels "omsfab.spec"}} r={{index .Config.Labels "omsfab.run"}}'
said=$(docker inspect --type container --format "$show" "$1" 2>/dev/null)
id=${said%% *}; by=${said##* r=}; [ "$by" != '<no value>' ] || by=
ours=
case $said in "$id s=$2 r="*)
  if [ -n "$by" ]; then [ "$by" != "$3" ] || ours=yes
  else case " $4 " in *" $id "*) ours=yes ;; esac; fi ;;
esac
other="this container is another one: $(printf %.12s "$id"), made by ${by:-nobody known}"
