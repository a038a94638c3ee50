# timeout: 240
tar cf - /usr/share/doc/bash /etc/skel 2>/dev/null | sha256sum
tar czf a.tgz -C /usr/share/doc adduser apt base-files; gzip -t a.tgz; echo $?
mkdir out; tar xzf a.tgz -C out; ls -lR out | awk '{print $1,$5,$NF}' | sha256sum
cat /usr/share/common-licenses/GPL-3 | gzip -9 | gunzip | cmp - /usr/share/common-licenses/GPL-3; echo $?
gunzip -c a.tgz | tar tf - | wc -l
rm -r out a.tgz; ls
