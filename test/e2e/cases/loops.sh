i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo $i
for a in 1 2 3; do for b in x y; do echo $a$b; done; done
case foobar in foo*) echo match;; *) echo no;; esac
f() { [ $1 -le 1 ] && { echo 1; return; }; echo $(( $1 * $(f $(($1-1))) )); }
f 8
until [ ${#s} -ge 5 ]; do s="${s}z"; done; echo $s
echo $(echo $(echo $(echo $(echo nested))))
