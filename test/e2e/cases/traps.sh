trap 'echo exit trap $?' EXIT
trap 'echo int' INT
trap 'echo term' TERM
kill -INT $$; kill -TERM $$
trap '' HUP; kill -HUP $$; echo survived hup
trap - HUP
( kill -HUP $(sh -c 'echo $PPID') ; echo not reached ); echo "sub: $?"
( ulimit -c 0; kill -SEGV $(sh -c 'echo $PPID') ); echo "segv: $?"
( kill -KILL $(sh -c 'echo $PPID') ); echo "kill: $?"
exit 3
