# shell: /bin/bash
# part: long
# timeout: 120
# What procps and its kin say of processes: the same where it can be, else its shape.
sleep 300 & first=$!
sleep 300 & second=$!
matches() { # NAME EXPRESSION: every line of the input is of this shape
  awk -v re="$2" -v name="$1" '!($0 ~ re) { print name " has the line: " $0; bad = 1 } END { if (!bad) print name " ok" }'
}
# Until both are asleep.
until [ "$(ps -o stat= -p $first,$second | tr -d ' \n')" = SS ]; do sleep 0.05; done
ps -o comm=,args= --ppid $$ | grep -v '^ps'
ps -o ppid= -p $first | tr -d ' ' | sed "s/^$$\$/shell/"
ps aux | head -1
ps aux | tail -n +2 | matches 'ps aux' '^[a-z_+0-9-]+ +[0-9]+ +[0-9.]+ +[0-9.]+ +[0-9]+ +[0-9]+ +[^ ]+ +[RSDTZI][<NLsl+]* +[A-Z0-9a-z:]+ +[0-9]+:[0-9][0-9] .'
ps -ef | head -1
ps -ef | tail -n +2 | matches 'ps -ef' '^[a-z_+0-9-]+ +[0-9]+ +[0-9]+ +[0-9]+ +[A-Z0-9a-z:]+ +[^ ]+ +[0-9:-]+ .'
ps -eo pid,ppid,pgid,sid,tty,nice,pri,psr,stat,wchan,rss,vsz,nlwp,time,etimes,comm | head -1
ps -eLo pid,lwp,comm | grep -c "^ *$first  *$first sleep"
ps -p $first -o wchan= | grep -c '[a-z]'
ps -p $first -o nice=,nlwp=,uid=,euser=,stat=,cmd=
ps -p 999999; echo $?
pgrep -P $$ -c sleep; pgrep -P $$ -x nothing; echo $?
pidof sleep | tr ' ' '\n' | grep -cx "$first\|$second"
top -bn1 | head -1 | matches 'top 1' '^top - [0-9:]+ up .* user.*load average: [0-9.]+, [0-9.]+, [0-9.]+$'
top -bn1 | sed -n 2,5p | matches 'top 2-5' '^(Tasks: |%Cpu\(s\): *[0-9.]+ us|MiB (Mem|Swap) ?:)'
top -bn1 -p $first,$second | tail -n +8 | awk '{ print NF, $2, $4, $8, $NF }'
pmap $first | sed 1d | matches pmap '^([0-9a-f]+ +[0-9]+K [r-][w-][xs-][s-][R-] | total +[0-9]+K$)'
pmap -x $first | sed -n 2p
pmap -x $first | tail -n 1 | matches 'pmap -x' '^total kB +[0-9]+ +[0-9]+ +[0-9]+$'
pmap -X $first | tail -n 1 | matches 'pmap -X' '^[ 0-9]+KB'
ipcs -m | sed -n 2,3p
pwdx $first | sed "s/^$first/N/; s:$T:T:"
lsof -a -p $first -d cwd,txt -Fftn | sed "s/^p$first\$/pN/; s:$T:T:"
lsof -p $first | head -1 | tr -s ' '
taskset -p $first | sed "s/$first/N/" | sed 's/: .*//'; chrt -p $first | sed "s/$first/N/"
ionice -p $first; choom -p $first | sed "s/$first/N/; s/[0-9]*\$/ X/"
renice -n 3 -p $first | sed "s/$first/N/"; ps -p $first -o nice=
prlimit -p $first --nofile --noheadings -o RESOURCE,DESCRIPTION
grep -c . /proc/$first/limits; head -1 /proc/$first/limits
sed 's/:.*//' /proc/$first/io
awk '/^(Rss|Pss|Size)/ { n[$1]++ } END { print (n["Rss:"] > 5), n["Rss:"] == n["Size:"], n["Pss:"] == n["Size:"] }' /proc/$first/smaps
awk '$1 == "Rss:" { a += $2 } END { print a > 0 }' /proc/$first/smaps
pkill -P $$ sleep; wait $first $second; echo $?
