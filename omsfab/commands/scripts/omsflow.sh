# docker_init.sh is in the container, and python finds omsflow from /root
docker exec "$1" sh -c '
  [ -s /root/docker_init.sh ] || { echo "/root/docker_init.sh is not there, or empty"; exit 1; }
  command -v python >/dev/null || { echo "there is no python"; exit 1; }
  cd /root && said=$(python -c "$1" 2>&1 >/dev/null) || {
    printf "%s\n" "$said" | tail -n 1; exit 1
  }
' omsfab "$2"
