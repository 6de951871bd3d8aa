# docker load, once more if the daemon died in it
# One that was loaded while it came is there.
docker image inspect "$2" >/dev/null 2>&1 && exit 0
docker load -i "$1" && exit 0
docker info >/dev/null 2>&1 && exit 1
for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
exec docker load -i "$1"
