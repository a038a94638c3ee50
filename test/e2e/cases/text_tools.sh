# part: long
# timeout: 240
awk 'BEGIN { for (i = 0; i < 200000; i++) { x = (x * 1103515245 + 12345) % 2147483648; print x } }' > n
sort -n n | sha256sum; sort -u n | wc -l; sort -rn n | head -3
sed -n '1,100s/[0-3]/#/gp' n | sha256sum
awk '{ h[length($0)]++ } END { for (k in h) print k, h[k] }' n | sort
sed -e '/^1/d' -e 's/\(.\)\(.\)/\2\1/' n | tail -5
grep -c 77 n; cut -c2-4 n | uniq | wc -l; tr 0-9 a-j < n | tail -1
diff /etc/passwd /etc/group | wc -l; od -c /etc/hostname | wc -l
