# Lazy binding saves all vector state on the stack, with the size that CPUID tells (AVX-512 too).
cksum /etc/passwd
seq 1 100 | sort -rn | /usr/bin/head -n 3
/bin/ls -d /usr/bin /etc
/usr/bin/sha256sum /etc/passwd | cut -c 1-64
