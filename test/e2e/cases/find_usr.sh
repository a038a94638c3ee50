# shell: /bin/bash
# part: long
# timeout: 300
find /usr -type f | wc -l
