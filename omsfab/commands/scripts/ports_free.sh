# no other program listens on these ports
# With --net host docker does not notice a taken port, hence this question (OMS docs, ports in use).
command -v ss >/dev/null || { echo 'ss is not on this node (package iproute2)'; exit 1; }
bad=0
for port; do
  row=$(ss -Hltnp "sport = :$port" 2>/dev/null) || {
    printf 'ss does not tell: %s\n' "$(ss -Hltn 2>&1 | head -n 1)"; exit 1
  }
  row=$(printf %s "$row" | head -n 1)
  if [ -n "$row" ]; then
    printf 'port %s is used: %s\n' "$port" "$(printf %s "$row" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 pid \2/p')"
    bad=1
  fi
done
exit $bad
