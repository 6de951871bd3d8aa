# remove the copies of runs that have ended, but for the newest
# shellcheck disable=SC2012  # names are of our own or the image's, and ls sorts them
cd -- "$1" || exit
ls -1r | while read -r run; do
  grep -qs '"kind": "run", "text": "ended' -- "$run/journal.jsonl" || continue
  kept=$((kept + 1)); [ "$kept" -le "$2" ] || rm -rf -- "./$run"
done
