# ctl CONTAINER WORD...: the line between the quotes is replaced as all such lines are.
ctl() {
name=$1; shift
docker exec "$name" sh -c '
. ./supervisorctl.sh
' supervisorctl "$@"
}
