# the identity of this machine
cat /etc/machine-id 2>/dev/null || cat /var/lib/dbus/machine-id
