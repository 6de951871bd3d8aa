# make a directory for this user alone
umask 077; mkdir -p -- "$1"
