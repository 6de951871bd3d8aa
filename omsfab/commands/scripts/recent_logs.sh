# the newest logs of OMS: initialisation first, as a collector would look
# shellcheck disable=SC2012  # names are of our own or the image's, and ls sorts them
docker logs --tail "$2" "$1" 2>&1 | tail -n "$2"
ls -t "$3"/docker_init*.log* 2>/dev/null | head -n 1 | while IFS= read -r file; do
  printf '==> %s
' "$file"; tail -n "$2" -- "$file"
done
for file in "$3"/supervisord.log "$3"/*_stdout.log "$3"/*_stderr.log             "$3"/cm/log/service.log "$3"/cm/log/common-error.log             "$3"/ghana/Ghana/common-error.log "$3"/supervisor/error.log; do
  [ -f "$file" ] || continue
  printf '==> %s
' "$file"; tail -n "$2" -- "$file"
done
