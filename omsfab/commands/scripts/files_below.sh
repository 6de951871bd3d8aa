# the files below a directory
cd -- "$1" && find . -type f | sed 's,^\./,,' | sort
