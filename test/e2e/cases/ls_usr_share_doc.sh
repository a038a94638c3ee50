# timeout: 240
ls -lR /usr/share/doc | sha256sum
ls -la / | awk '{print $NF}' | grep -c .
ls -l /usr/bin | wc -l
ls -i /nonexistent; echo $?
