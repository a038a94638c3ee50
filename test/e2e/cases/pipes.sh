echo one two three | tr ' ' '\n' | sort -r | head -2
seq 1 20000 | awk '{ s += $1 } END { print s }'
yes | head -n 100000 | wc -l
cat /etc/passwd | grep root | cut -d: -f1,7
(echo a; echo b >&2; echo c) 2>&1 | cat -n
true | false; echo $?
false | true; echo $?
set -o pipefail; false | true; echo $?
printf 'x%.0s' 1 2 3 4 5; echo
dd if=/dev/zero bs=1000 count=300 2>/dev/null | tr '\0' 'a' | wc -c
