#!/bin/bash
# The life of one node, as process 1 of its own mount, PID, UTS and IPC namespaces.
# Started by node.py inside the node's network namespace.  Arguments: name, directory of the
# node, cgroup of the node, directories of this machine to hide, separated by colons.
set -euo pipefail
name=$1 dir=$2 cgroup=$3 hidden=$4
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root

mount --make-rprivate /
# The logs stay in the directory of the lab, which the node itself cannot see.
exec 5>>"$dir/sshd.log" 6>>"$dir/dockerd.log"

# overlay root: this machine below, what the node changes above.  Some file systems cannot
# carry an upper layer (overlay itself, NFS); then it lives in memory.
root=$dir/root
if ! mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root" 2>/dev/null
then
    mount -t tmpfs -o mode=700 tmpfs "$dir/work"
    mkdir "$dir/work/u" "$dir/work/w"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/work/u,workdir=$dir/work/w" "$root"
fi
cd "$root"
mkdir -p dev proc sys run tmp data root home var/lib/docker var/lib/omsfab
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
# AppArmor is asked here whether it exists, and docker stumbles if it cannot be asked further.
[ ! -d /sys/kernel/security ] || mount --rbind /sys/kernel/security sys/kernel/security || true
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t proc proc proc
# What belongs to the operator of this machine is not there for the node.
IFS=: read -ra covers <<<"$hidden"
for path in "${covers[@]}"; do
    [ ! -d ".$path" ] || mount -t tmpfs -o size=64k,mode=700 tmpfs ".$path"
done
mount --bind "$dir/data" data
mount --bind "$dir/docker" var/lib/docker
mount --bind "$dir/home-root" root
mount --bind "$dir/home" home
mount --bind "$dir/var-omsfab" var/lib/omsfab
rm -rf etc/ssh/ssh_host_* etc/hostname etc/hosts etc/machine-id etc/resolv.conf etc/docker
cp -a "$dir/etc/." etc/
pivot_root . .
umount -l .
cd /

hostname "$name"
ip link set lo up
id -u ops >/dev/null 2>&1 || useradd --no-create-home --shell /bin/bash ops
# A password that nobody can type, where a bare "!" would lock the account for sshd as well.
usermod -p '*' ops
usermod -p '*' root
mkdir -p /home/ops/.ssh /run/sshd
cp /root/.ssh/authorized_keys /home/ops/.ssh/
chown -R ops: /home/ops
chmod 700 /home/ops /home/ops/.ssh
rm -f /etc/nologin /run/nologin

mkdir -p /usr/local/lib/omsfab-lab
echo "$cgroup" >/usr/local/lib/omsfab-lab/cgroup
ln -sf /etc/lab/lab-service /usr/local/sbin/lab-service
lab-service sshd start
lab-service dockerd start
# As process 1 bash also collects the orphans of the node.
while :; do
    sleep 86400 &
    wait || true
done
