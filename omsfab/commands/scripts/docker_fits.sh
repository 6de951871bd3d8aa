# docker answers, and is one that OMS runs on
# OMS docs: services never start on an engine older than 1.13.  podman answers to docker's words,
# yet its containers end with the session that started them.  Where docker remaps users, it refuses
# --privileged and --net host.  In the containerd store an image has another id than in its package.
version=$(docker version --format '{{.Server.Version}}' 2>&1) || {
  printf '%s\n' "$version"; exit 1
}
version=$(printf '%s\n' "$version" | tail -n 1)
at=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || at=$DOCKER_HOST
case $at in
  tcp://127.* | tcp://localhost*) ;;
  tcp:* | ssh:* | http*)
    printf 'docker speaks to another machine here: %s\n' "$at"
    echo 'DOCKER_HOST in a profile, or docker context use default'; exit 46;;
esac
case $(docker --version 2>&1) in
  *podman*) printf 'docker is podman here (%s)\n' "$version"; exit 46;;
esac
case $version in
  1.[0-9].* | 1.1[0-2].* | 0.*) printf 'docker %s is older than 1.13\n' "$version"; exit 46;;
esac
info=$(docker info --format '{{.SecurityOptions}} {{.DriverStatus}}' 2>/dev/null)
case $info in
  *name=rootless*) echo 'docker is rootless here: it cannot give OMS its privileges'; exit 46;;
  *name=userns*)
    echo 'docker remaps users here: it cannot give OMS its privileges'
    echo 'take "userns-remap" out of daemon.json and restart docker'; exit 46;;
esac
[ -z "$1" ] || case $info in *io.containerd.snapshotter*)
  echo 'docker keeps images in the containerd store, where the id of a package is another one'
  echo 'set "features": {"containerd-snapshotter": false} in daemon.json and restart docker:' \
    'it does not show then what it keeps now'; exit 46;;
esac
printf '%s\n' "$version"
