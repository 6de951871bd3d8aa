# decides FILE: lines of an output that decide what an initialisation came to
decides() {
  grep -aiF -e 'init failed!' -e '初始化步骤' -e 'initialization steps' \
    -e 'Traceback (most recent' -- "$1"
}
