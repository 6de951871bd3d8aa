# the container logs in to MetaDB
# PyMySQL is what the initialisation itself logs in with.  Where it is not, nothing can be asked.
docker exec -i "$1" sh -c '
  command -v python >/dev/null || exit 0
  cd /root && exec python -c "$1"
' omsfab "$2"
