# timeout: 240
find /usr/share/doc -type f | sort | sha256sum
find /usr/lib -maxdepth 2 -type d -name '[a-g]*' | sort | head -50
find /etc -name passwd -exec wc -c {} \;
find /usr/share -maxdepth 1 -type d -print0 | tr '\0' '\n' | sort | wc -l
