# claim this node for a run
dir=$1; run=$2; owner=$3; since=$4; umask 077
mkdir -p -- "$dir" || exit
new=$dir/claim.$$
printf '%s\n' "$run" "$owner" "$since" >"$new" || exit
if ! ln -- "$new" "$dir/claim" 2>/dev/null; then
  held=$(cat -- "$dir/claim")
  if [ "$(printf %s "$held" | sed -n 1p)" = "$run" ] ||
     [ "$(printf %s "$held" | sed -n 2p)" = "$owner" ]; then
    mv -f -- "$new" "$dir/claim" || exit
  else
    rm -f -- "$new"
    printf '%s\n' "$held"
    exit 75
  fi
fi
rm -f -- "$new"
