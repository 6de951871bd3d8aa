# the copies of runs on this node
cd -- "$1" 2>/dev/null || exit 0
for run in [0-9]*Z-*; do
  if [ -f "$run/journal.jsonl" ]; then
    undoes=$(sed -n 's/^  "run": "\([0-9A-Za-z-]*\)",*$/\1/p' "$run/run.json" | head -n 1)
    last=$(grep '"kind": "run"' -- "$run/journal.jsonl" | tail -n 1)
    printf '%s %s %s %s\n' "$run" "$(grep -c '"kind": "intent"' -- "$run/journal.jsonl")" \
      "${undoes:--}" "$(printf %s "$last" | base64 | tr -d '\n')"
  fi
done
