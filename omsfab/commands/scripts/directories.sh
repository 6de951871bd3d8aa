# the directories are there
for dir; do [ -d "$dir" ] || exit 1; done
