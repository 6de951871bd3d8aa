#!/bin/bash
# Entry of the images that initialise themselves (knob SELF_INIT=1): docker_init.sh beside supervisord.
# A container that is started again has been initialised before.
self_init() {
    until supervisorctl status >/dev/null 2>&1 || [ $? -eq 3 ]; do sleep 0.2; done
    [ -s /root/init_flag.txt ] || bash /root/docker_init.sh || return
    until python -m omsflow.healthy; do sleep 0.3; done
    echo "OMS service start successfully"
}
self_init &
exec supervisord -n -c /etc/supervisor/supervisord.conf
