# what was brought here by hand is used, by a name of our own
# A package of that name may be the operator's own: it is read by a second name, and stays.
if [ -f "$1" ] && [ ! -e "$2" ] && [ "$(wc -c <"$1")" -eq "$3" ]; then
  ln -L -- "$1" "$2" 2>/dev/null
fi
exit 0
