# docker load, once more if it fails
# One that was loaded while it came is there.  The daemon may have died, or not been up yet: whether
# one that answers now was away a moment ago, nobody can ask it, and a bad file is bad twice.
docker image inspect "$2" >/dev/null 2>&1 && exit 0
docker load -i "$1" && exit 0
for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
exec docker load -i "$1"
