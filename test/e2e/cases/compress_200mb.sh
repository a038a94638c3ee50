# shell: /bin/bash
# part: long
# timeout: 400
seq 1 24000000 | head -c 209715200 > n; ls -l n | cut -d' ' -f5
sha256sum n; sort -r --parallel=2 -S 64M n | sha256sum
gzip -1 -c n | gunzip | cmp - n; echo $?
xz -0 -T2 -c n > n.xz; xz -t n.xz; echo $?; xz -dc n.xz | sha256sum; ls -l n.xz | cut -d' ' -f5
