# what OMS may not like here
# Thresholds: OMS docs, and what the vendor's deployer warns of.
exec 2>/dev/null
advise() {
cpus=$(getconf _NPROCESSORS_ONLN); [ "$cpus" -ge 8 ] || printf '%s CPUs, 8 or more are advised\n' "$cpus"
awk '$1 == "MemTotal:" && $2 < 16000000 {printf "%.0f GB of memory, 16 or more are advised\n", $2 / 1e6}' /proc/meminfo
awk '$1 == "MemAvailable:" && $2 < 7500000 {printf "%.1f GB of memory are free, the programs of OMS take about 7\n", $2 / 1e6}' /proc/meminfo
[ "$(cat /proc/sys/net/ipv4/tcp_tw_recycle)" = 1 ] && echo 'net.ipv4.tcp_tw_recycle is 1: the console fails to fetch'
for path; do
  dir=$path; while [ ! -d "$dir" ]; do dir=$(dirname -- "$dir"); done
  type=$(stat -f -c %T -- "$dir"); case $type in nfs* | smb* | cifs) printf '%s lies on %s\n' "$dir" "$type";; esac
  options=$(findmnt -no OPTIONS -T "$dir"); case ,$options, in *,noexec,*) printf '%s is mounted noexec\n' "$dir";; esac
done
}
said=$(advise "$@")
[ -z "$said" ] || { printf '%s\n' "$said"; exit 1; }
