# which layers the images here have, a line an image; nothing where the file is here already
[ ! -f "$1" ] || exit 0
docker images -q --no-trunc | sort -u | xargs -r docker image inspect --format '{{json .RootFS.Layers}}'
