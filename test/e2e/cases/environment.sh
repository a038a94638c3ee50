echo $((2 ** 10)) ${UNSET:-default} ${#PATH}
export A=1; sh -c 'echo $A'; env -i B=2 /bin/busybox env
id -u; id -g; uname -s; uname -m; pwd | sed 's/[0-9].*//'
set -- a 'b c' d; echo $#; for i in "$@"; do echo "[$i]"; done
ulimit -n 100; ulimit -n; echo $PPID | grep -c '^[0-9]'
cd /usr/share; cd ..; pwd; cd -; nproc
