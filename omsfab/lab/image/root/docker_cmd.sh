#!/bin/bash
# Entry of the container up to 3.3.x: component files by the units of omsflow, then supervisord.
cd /root || exit 1
knob() { cat /usr/lib/omslab/profile /home/admin/logs/.lab/knobs 2>/dev/null | sed -n "s/^$1=//p" | tail -n 1; }

if [ "$(knob ENTRY_UNITS)" = 1 ]; then
    python -m omsflow.scripts.units.oms_init_manager --init-config-file
fi
[ "$1" != units ] || exit 0
export ENTRY_UNITS_RAN=1
exec /usr/bin/supervisord -c /etc/supervisor/supervisord.conf --nodaemon
