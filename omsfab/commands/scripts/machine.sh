# the processor is the one that the image was built for
here=$(uname -m)
case $here in x86_64) is=amd64;; aarch64) is=arm64;; *) is=$here;; esac
[ "$is" = "$1" ] && exit 0
printf 'the image is for %s, this node is %s\n' "$1" "$here"; exit 1
