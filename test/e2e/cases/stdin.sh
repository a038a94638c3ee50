# stdin: one\ntwo\nthree\n
read a; echo "first: $a"; cat | tac
