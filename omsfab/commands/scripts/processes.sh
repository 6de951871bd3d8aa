# processes of the container, and who holds the ports of OMS
# With --net host any process of the machine may hold a port of OMS.
name=$1; inside=$2; shift 2
found=$(docker exec "$name" sh -c "$inside" omsfab "$@") || exit
printf '%s\n' "$found" | grep -v '^outside '
for port in $(printf '%s\n' "$found" | sed -n 's/^outside //p'); do
  row=$(ss -Hltnp "sport = :$port" 2>/dev/null | head -n 1)
  printf 'outside\t%s\t%s\n' "$port" \
    "$(printf %s "$row" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\2 \1/p')"
done
true
