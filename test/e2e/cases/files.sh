umask 022
echo hello > f; cat f; echo more >> f; wc -c f; cp f g; cmp f g && echo same
mkdir -p d/e/f; touch d/e/f/x; ln -s e/f d/l; ls d/l; readlink d/l; ln f h; stat -c '%h %a %s %F' f
chmod 640 f; stat -c %a f; mv f d/; ls d; rm g h; rmdir d 2>&1; rm -r d; ls
cd /nonexistent 2>&1; cat nofile 2>&1; echo x > /nonexistent/file; ls /nonexistent 2>&1
mkfifo p; (echo through fifo > p &); cat p
: > e; test -s e; echo $?; truncate -s 100 e; stat -c %s e; dd if=/dev/zero of=e bs=1 count=5 seek=200 2>/dev/null; stat -c %s e
touch -d '2020-02-03 04:05:06' e; stat -c %Y e; date -u -r e
head -c 3 /dev/zero | od -c; head -c 16 /dev/urandom | wc -c; echo gone > /dev/null
