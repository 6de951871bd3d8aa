# remove the copies of these runs
cd -- "$1" || exit
shift
for run in "$@"; do
  rm -rf -- "./$run"
done
