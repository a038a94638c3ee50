for i in 1 2 3 4 5 6 7 8; do ( sleep 0.0$i; exit $i ) & p="$p $!"; done
for q in $p; do wait $q; echo "child: $?"; done
sleep 30 & k=$!
# Whether the shell says "Terminated" depends on when it looks.
{ kill -TERM $k; wait $k; } 2>/dev/null; echo "killed: $?"
(trap 'echo got usr1; exit 7' USR1; touch ready; while :; do sleep 0.01; done) & j=$!
while [ ! -e ready ]; do sleep 0.01; done
kill -USR1 $j; wait $j; echo "status: $?"
sleep 0.05 & wait; echo "all done: $?"
