# who is connected to this port
ss -Htn state established "( sport = :$1 )" | awk '{print $4}' | sed 's/^.*ffff://' | tr -d '[]'
