# supervisorctl of the container's own supervisord
# With --net host a port is one per host, so 127.0.0.1:8084, where supervisorctl asks, may be
# another container's supervisord.  A socket is the container's own.
[ ! -S /tmp/supervisor.sock ] || set -- -s unix:///tmp/supervisor.sock "$@"
exec supervisorctl "$@"
