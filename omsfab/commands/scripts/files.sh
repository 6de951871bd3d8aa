# the files are there
for file; do [ -f "$file" ] || { printf '%s is not a file\n' "$file"; exit 1; }; done
