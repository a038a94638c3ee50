x=value
cat <<A
plain $x $(echo sub) \$x
A
cat <<'B'
quoted $x
B
cat <<-C
	tabs removed
	C
tr a-z A-Z <<D | rev
pipe from here
D
i=0; while read line; do i=$((i+1)); echo "$i:$line"; done <<E
first
second
E
