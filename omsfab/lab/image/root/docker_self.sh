#!/bin/bash
# Beside supervisord of the images that initialise themselves (knob SELF_INIT=1).
# A container that is started again has been initialised before.
until supervisorctl pid | grep -qx '[0-9]*'; do sleep 0.2; done
[ -s /root/.lab-initialised ] || bash /root/docker_init.sh || exit
until python -m omslab.healthy; do sleep 0.3; done
echo "OMS service start successfully"
