#!/bin/bash
# service.sh start foreground: the agent, as user ds.
[ "$*" = "start foreground" ] || { echo "usage: service.sh start foreground" >&2; exit 2; }
exec python -m omslab.services.supervisor
