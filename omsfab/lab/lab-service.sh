#!/bin/bash
# lab-service sshd|dockerd start|stop|kill|restart: the service manager of a lab node.
set -euo pipefail
service=$1 action=$2 pidfile=/run/lab-$1.pid
alive() { [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }
start() {
    alive && return
    case $service in
        sshd)
            exec 7>>/proc/1/fd/5
            setsid /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config </dev/null >&7 2>&7 5>&- 6>&- 7>&- & ;;
        dockerd)
            exec 7>>/proc/1/fd/6
            # A daemon that was killed leaves its containerd and its pid files behind.
            pkill -KILL -x containerd || true
            rm -f /run/docker.pid /run/docker/containerd/containerd.pid
            # OMS has the network of the node; a bridge with docker's own proxy is for `run -p`.
            setsid dockerd --iptables=false --ip6tables=false --ip-forward=false \
                --bip=172.31.255.1/24 --live-restore=false \
                --exec-opt native.cgroupdriver=cgroupfs \
                --cgroup-parent="$(cat /usr/local/lib/omsfab-lab/cgroup)" \
                --config-file /etc/docker/daemon.json </dev/null >&7 2>&7 5>&- 6>&- 7>&- & ;;
        *) echo "no service $service" >&2; exit 2 ;;
    esac
    echo $! >"$pidfile"
    # Who starts sshd goes on by ssh at once; of dockerd, to be up late is what a boot does.
    [ "$service" != sshd ] || for _ in $(seq 200); do
        ! ss -Hltnp | grep -q "pid=$(cat "$pidfile")," || break
        sleep 0.05
    done
}
finish() {
    alive || return 0
    kill "-$1" "$(cat "$pidfile")"
    for _ in $(seq 200); do alive || break; sleep 0.05; done
    rm -f "$pidfile"
}
case $action in
    start) start ;;
    stop) finish TERM ;;
    kill) finish KILL ;;
    restart) finish TERM; start ;;
    *) echo "no action $action" >&2; exit 2 ;;
esac
