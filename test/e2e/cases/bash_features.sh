# shell: /bin/bash
# timeout: 120
cat > run.bash <<'BASH'
set -u
# Nested command substitution, 50 deep.
nested='echo deep'
for i in $(seq 50); do nested="echo \$( $nested )"; done
eval "$nested"
# Process substitution, here-documents and here-strings.
diff <(seq 5) <(seq 2 6)
paste <(printf 'a\nb\n') <(printf '1\n2\n')
tee >(wc -c > count) <<< "to a process" > /dev/null; wait $!; cat count
cat <<EOF | tr a-z A-Z
here $(echo document) ${BASH_VERSION%%.*}
EOF
# Pipes: the status of each part.
false | true | (exit 3); echo "${PIPESTATUS[@]}"
set -o pipefail; false | true; echo $?
# Job control without a terminal.
set -m
sleep 5 & sleep 0.01 & jobs -r | wc -l
kill -STOP %1; wait -n %2; kill -CONT %1; kill %1; wait %1 2>/dev/null; echo "job: $?"
coproc tr a-z A-Z; echo coprocess >&"${COPROC[1]}"; eval "exec ${COPROC[1]}>&-"; cat <&"${COPROC[0]}"
set +m
# Traps.
trap 'echo exiting' EXIT
trap 'echo "usr1 caught"' USR1
kill -USR1 $$
trap 'echo "error on a line"' ERR
false
trap - ERR
( trap 'echo child' TERM; kill -TERM $BASHPID; echo after )
# Built-ins that ask the kernel.
read -r -t 0.05 line < <(sleep 1); echo "timeout: $(( $? > 128 ))"
mapfile -t lines < <(seq 1000); echo "${#lines[@]} ${lines[999]}"
exec 7<> file; echo seven >&7; exec 7>&-; cat file
printf '%s\n' {a..e}{1..3} | sort -r | head -4 | xargs -n2
umask 027; touch private; stat -c %a private
ulimit -n 64; ulimit -n
shopt -s extglob globstar nullglob
mkdir -p d/{x,y}/z; touch d/x/z/f.{c,h}; echo **/*.@(c|h)
time_spent=$SECONDS; [ "$time_spent" -lt 60 ] && echo quick
BASH
bash run.bash; echo "status $?"
