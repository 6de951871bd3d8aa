#!/bin/bash
# Entry of the container: directories, then supervisord in the foreground.
cd /root || exit 1
lab=/home/admin/logs/.lab
knob() { sed -n "s/^$1=//p" "$lab/knobs" 2>/dev/null | tail -n 1; }

mkdir -p /home/admin/conf /home/admin/logs/ghana/Ghana /home/admin/logs/cm/log \
    /home/admin/logs/supervisor /home/ds/store /home/ds/run "$lab"
if [ "$(knob EXIT_AT_START)" = 1 ]; then
    echo "docker_cmd.sh: cannot start: no configuration for this host" >&2
    exit 1
fi

# Newer images initialise themselves; theirs is another entry, so this one does not name the script.
if [ "$(knob SELF_INIT)" = 1 ]; then
    exec bash /root/docker_self.sh
fi
exec supervisord -n -c /etc/supervisor/supervisord.conf
