# whether the container runs, and the tag of the image it was made from
# It was run from an image id, which says no version.
said=$(docker inspect --type container --format '{{.State.Running}} {{.Image}}' "$1") || exit 1
tag=$(docker image inspect --format '{{join .RepoTags " "}}' "${said#* }" 2>/dev/null)
printf '%s %s\n' "${said%% *}" "${tag:-${said#* }}"
