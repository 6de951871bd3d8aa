# the file is what the run wrote, or what it was before
. ./lib_whose_file.sh

[ -z "$why" ] || { printf '%s: %s\n' "$path" "$why"; exit 1; }
