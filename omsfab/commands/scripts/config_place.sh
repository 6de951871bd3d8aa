# config.yaml is a file or may become one
if [ -d "$1" ]; then
  printf '%s is a directory (docker -v creates one when the file is missing): rmdir it\n' "$1"
  exit 1
fi
