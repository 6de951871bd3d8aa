# supervisord in the container answers
. ./lib_ctl.sh

said=$(ctl "$1" pid 2>&1)
case $said in '' | *[!0-9]*) printf '%s\n' "${said:-nothing}"; exit 1;; esac
