# refresh the component files from config.yaml
docker exec "$1" sh -c 'cd /root && exec python -m omsflow.scripts.units.oms_init_manager --init-config-file'
