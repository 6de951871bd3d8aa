# refresh the component files from config.yaml, restart what reads them
# Vendor's procedure for a changed config.yaml (OMS docs, deployment pages): component files anew,
# then restart what reads them.  omsflow lies in /root and is found from there only.  What the
# restart came to, the programs' states tell, and not supervisorctl.
. ./lib_ctl.sh

docker exec "$1" sh -c 'cd /root && exec python -m omsflow.scripts.units.oms_init_manager --init-config-file' || exit
ctl "$@" || true
