# part: long
# timeout: 240
dd if=/dev/zero bs=1M count=200 2>/dev/null | sha256sum
yes ringfence | head -c 209715200 | sha256sum
