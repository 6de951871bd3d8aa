# pass a file on to the next node, until the input ends
# By an sshd of its own, on a port that is free, with a host key of its own: it knows one key, which
# comes as the first line of the input, and which may do one thing.  What it has goes with it.
dest=$1; size=$2; reader=$3; umask 077
read -r key || exit 1
sshd=$(command -v sshd || echo /usr/sbin/sshd)
[ -x "$sshd" ] && { [ -f "$dest.part" ] || [ -f "$dest" ]; } || exit 1
place=$(mktemp -d) || exit 1
over() { trap - EXIT; [ -z "$serving" ] || kill "$serving"; rm -rf -- "$place"; }
trap over EXIT; trap 'exit 1' HUP INT TERM
printf '%s' "$reader" >"$place/read"
printf '%s' "$dest" >"$place/dest"
printf 'restrict,command="exec sh %s/read %s %s" %s\n' "$place" "$place" "$size" "$key" >"$place/keys"
ssh-keygen -q -t ed25519 -N '' -f "$place/host" || exit 1
pam=no; [ "$(id -u)" -ne 0 ] || pam=yes
for _ in 1 2 3; do
  port=$((49152 + $(od -An -N2 -tu2 /dev/urandom) % 16384))
  cat >"$place/config" <<END
Port $port
HostKey $place/host
AuthorizedKeysFile $place/keys
PidFile $place/pid
UsePAM $pam
StrictModes no
PasswordAuthentication no
ChallengeResponseAuthentication no
PermitRootLogin prohibit-password
AllowUsers $(id -un)
X11Forwarding no
PermitTunnel no
UseDNS no
LogLevel ERROR
END
  : >"$place/log"
  "$sshd" -D -E "$place/log" -f "$place/config" </dev/null >/dev/null 2>&1 &
  serving=$!
  for _ in $(seq 50); do
    [ -s "$place/pid" ] && break
    kill -0 "$serving" 2>/dev/null || break
    sleep 0.1
  done
  # It goes on where it has the port for IPv6 alone, and nobody reaches it by IPv4.
  [ -s "$place/pid" ] && ! grep -q 'in use' "$place/log" && break
  kill "$serving" 2>/dev/null; wait "$serving"; rm -f -- "$place/pid"
done
[ -s "$place/pid" ] || { echo "no sshd of its own comes up here" >&2; exit 1; }
echo "$(id -un) $port $(cut -d ' ' -f 1,2 "$place/host.pub")"
while read -r _; do :; done
