#!/bin/bash
# The guide's physical-address scenario by a careful hand, as fast as it goes: one SSH connection to
# each node, everything staged before the outage, the image loaded while it arrives, each result
# looked at.  A rival of omsfab in scripts/bench, which sets what stands in capitals.
set -euo pipefail
umask 077
: "$OLD" "$NEW" "$VIP" "$KEY" "$KNOWN_HOSTS" "$PACKAGE" "$IMAGE" "$IMAGE_ID" "$CONTAINER" "$WORK"
: "$META_CNF" "$RM_DB" "$CM_DB" "$LOCATION"
config=/data/config.yaml
data=/data/oms

ssh=(-F none -i "$KEY" -o "UserKnownHostsFile=$KNOWN_HOSTS" -o StrictHostKeyChecking=yes
    -o BatchMode=yes -o KexAlgorithms=curve25519-sha256 -c aes128-gcm@openssh.com -q
    -o ControlMaster=auto -o ControlPersist=300 -o "ControlPath=$WORK/%C")
# shellcheck disable=SC2029  # names of this side
on() { local node=$1; shift; ssh "${ssh[@]}" "root@$node" "$@"; }
sql() { mysql --defaults-extra-file="$META_CNF" --batch --skip-column-names; }
dump() { mysqldump --defaults-extra-file="$META_CNF" --no-create-info --skip-lock-tables "$@"; }
fail() { printf 'hand.sh: %s\n' "$*" >&2; exit 1; }
hang_up() { for node in $OLD $NEW; do ssh "${ssh[@]}" -O exit "root@$node" 2>/dev/null || true; done; }
trap hang_up EXIT
all() { for pid in "$@"; do wait "$pid" || fail "a step before the outage has failed"; done; }

# Nothing of the new nodes is in the way; then directories, image, config.yaml.
stage() {
    on "$1" "docker inspect $CONTAINER >/dev/null 2>&1 && exit 1
        mkdir -p $data/oms_logs $data/oms_store $data/oms_run
        umask 027; cat >$config && chgrp 501 $config" <"$WORK/config.new"
    on "$1" 'docker load' <"$PACKAGE" >/dev/null
    [ "$(on "$1" "docker image inspect -f '{{.Id}}' $IMAGE" </dev/null)" = "$IMAGE_ID" ]
}
# Its exit status says little: the closing sentence does.
initialise() {
    on "$1" "docker exec $CONTAINER bash /root/docker_init.sh" </dev/null >"$WORK/init-$1" 2>&1 || true
    grep -q '全部初始化步骤执行成功' "$WORK/init-$1" || fail "docker_init.sh has failed on $1"
}

# 1. Look.
on "$OLD" "docker exec $CONTAINER supervisorctl pid >/dev/null && cat $config" </dev/null >"$WORK/config.old"
curl -sS -o /dev/null --max-time 5 "http://$VIP:8088/"
# shellcheck disable=SC2086  # addresses
awk -v url="http://$VIP:8088" -v nodes="$OLD $NEW" '
    /^cm_url:/ { print "cm_url: " url; next }
    /^cm_nodes:/ { print; n = split(nodes, ip, " "); for (i = 1; i <= n; i++) print " - " ip[i]; list = 1; next }
    list && /^ *- / { next }
    { list = 0; print }' "$WORK/config.old" >"$WORK/config.new"

# 2. Stage the new nodes, side by side, and see that the rows can be read.
waits=()
for node in $NEW; do stage "$node" & waits+=($!); done
echo "select cm_url from $RM_DB.cluster_info where code = $LOCATION" | sql >/dev/null & waits+=($!)
all "${waits[@]}"

# 3. The outage: stop, back up and delete rows, config.yaml in place, initialise.
on "$OLD" "cp -p $config $config.before
    docker exec $CONTAINER supervisorctl stop all >/dev/null
    ! docker exec $CONTAINER supervisorctl status | grep RUNNING" </dev/null
dump "$RM_DB" cluster_info >"$WORK/rm.sql" & rm=$!
dump "$CM_DB" location_cm host resource_group >"$WORK/cm.sql" & cm=$!
all "$rm" "$cm"
sql <<SQL
start transaction;
delete from $RM_DB.cluster_info where code = $LOCATION;
delete from $CM_DB.location_cm where location = '$LOCATION';
delete from $CM_DB.host where resource_group_id in
    (select id from $CM_DB.resource_group where name = '$LOCATION');
delete from $CM_DB.resource_group where name = '$LOCATION';
commit;
SQL
on "$OLD" "cat >$config" <"$WORK/config.new"
initialise "$OLD"
[ "$(echo "select cm_url from $RM_DB.cluster_info where code = $LOCATION" | sql)" = "http://$VIP:8088" ] ||
    fail "cm_url in MetaDB is not that of the VIP"

# 4. The new nodes, one after the other.
for node in $NEW; do
    on "$node" "docker run -dit --net host -v $config:/home/admin/conf/config.yaml \
        -v $data/oms_logs:/home/admin/logs -v $data/oms_store:/home/ds/store \
        -v $data/oms_run:/home/ds/run -e OMS_HOST_IP=$node --privileged=true --pids-limit -1 \
        --ulimit nproc=65535:65535 --name $CONTAINER $IMAGE >/dev/null
        until docker exec $CONTAINER supervisorctl pid >/dev/null 2>&1; do sleep 0.1; done" </dev/null
    initialise "$node"
done

# 5. All of them run and are ONLINE, and the VIP answers.
for node in $OLD $NEW; do
    on "$node" "! docker exec $CONTAINER supervisorctl status | grep -v RUNNING" </dev/null
    until [ "$(echo "select host_status from $CM_DB.host where ip = '$node'" | sql)" = ONLINE ]; do
        sleep 0.2
    done
done
curl -sS -o /dev/null --max-time 5 "http://$VIP:8088/"
