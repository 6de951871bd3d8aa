# bring a longer journal
# A journal only ever grows.  One that is there and is no beginning of what comes was written by
# somebody else, who may be ahead of us.
path=$1; new=$path.$$.new; umask 077
base64 -d | dd of="$new" conv=fsync bs=64k 2>/dev/null || { rm -f -- "$new"; exit 42; }
if [ -s "$path" ]; then
  head -c "$(wc -c <"$path")" -- "$new" | cmp -s - "$path" || { rm -f -- "$new"; exit 46; }
fi
mv -f -- "$new" "$path" && sha256sum <"$path"
