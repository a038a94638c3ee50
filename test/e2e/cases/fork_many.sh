# part: long
# timeout: 120
i=0; while [ $i -lt 200 ]; do /bin/busybox true; i=$((i+1)); done; echo $i
i=0; while [ $i -lt 100 ]; do x=$(echo $i); i=$((i+1)); done; echo $x
seq 1 50 | xargs -n 1 -P 4 /bin/busybox true; echo $?
