# shell: /bin/bash
# part: long
# timeout: 120
# What programs say of the machine: the same where it can be, else its shape or that two sources agree.
matches() {
  awk -v re="$2" -v name="$1" '!($0 ~ re) { print name " has the line: " $0; bad = 1 } END { if (!bad) print name " ok" }'
}
same() { if [ "$2" = "$3" ]; then echo "$1 same"; else echo "$1: $2, not $3"; fi; }
free | head -1
free | sed 1d | matches free '^(Mem|Swap): +[0-9]+ +[0-9]+ +[0-9]+'
same MemTotal "$(free | awk '/^Mem/ { print $2 }')" "$(awk '/^MemTotal/ { print $2 }' /proc/meminfo)"
free -h >/dev/null; echo $?
uptime | matches uptime '^ [0-9:]+ up .*,  [0-9]+ users?,  load average: [0-9.]+, [0-9.]+, [0-9.]+$'
uptime -p | matches 'uptime -p' '^up '
vmstat | head -2
vmstat | sed -n 3p | awk '{ print NF }'
vmstat -s | sed 's/^ *[0-9]* //'
vmstat -d | wc -l | awk '{ print ($1 <= 40) }'
df --output=fstype,target . | sed "s:/dev/shm:SHM:"
df -P . | head -1; df -i . | awk 'NR == 2 { print NF }'
findmnt -n -o FSTYPE /proc; findmnt -n -o FSTYPE /sys; findmnt -n -o TARGET /dev/shm | sort -u
mount | matches mount '^[^ ]+ on /[^ ]* type [^ ]+ \(.*\)$'
same mounts "$(mount | wc -l)" "$(wc -l < /proc/self/mounts)"
id; id -un; id -Gn; id nobody; groups
same hostname "$(hostname)" "$(cat /proc/sys/kernel/hostname)"
same nodename "$(uname -n)" "$(hostname)"
uname -s -m -o
same release "$(uname -r)" "$(cat /proc/sys/kernel/osrelease)"
same version "$(uname -v)" "$(cat /proc/sys/kernel/version)"
uname -a | matches 'uname -a' '^Linux [^ ]+ [0-9]+\.[0-9]+.* x86_64 GNU/Linux$'
same cpus "$(nproc)" "$(getconf _NPROCESSORS_ONLN)"
same cpuinfo "$(nproc --all)" "$(grep -c ^processor /proc/cpuinfo)"
lscpu | sed -n '1,3p' | tr -s ' '
lscpu -p=cpu,node | grep -vc '^#' | awk '{ print ($1 >= 1) }'
swapon --show; (cd /proc/sys && cat kernel/ostype kernel/ngroups_max kernel/overflowuid)
awk '{ print ($1 >= 65530) }' /proc/sys/vm/max_map_count
tty; date -d @0 -u +%FT%T; cat /proc/self/cgroup | tail -1
cat /proc/swaps; head -1 /proc/devices; ls /proc/net | grep -x 'dev\|unix\|tcp\|udp\|raw\|route\|arp\|packet'
python3 -c 'import os; print(all(x >= 0 for x in os.getloadavg()), os.sysconf("SC_PAGE_SIZE"))'
