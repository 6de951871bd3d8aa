# the sha256 of the file
. ./lib_digest.sh
digest <"$1"
