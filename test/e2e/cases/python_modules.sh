# shell: /bin/dash
# timeout: 180
cat > run.py <<'PY'
import collections, ctypes, ctypes.util, faulthandler, fcntl, gzip, hashlib, json, mmap, os, pickle, re
import select, shutil, signal, sqlite3, struct, subprocess, sys, tempfile, threading, time, zlib
from concurrent.futures import ThreadPoolExecutor

print(json.loads(json.dumps({"a": [1, 2.5, None, True], "ü": "\u2603"}, sort_keys=True)))

# Threads: a lock, a condition, a pool.
total, lock = 0, threading.Lock()
def add():
    global total
    for _ in range(2000):
        with lock:
            total += 1
threads = [threading.Thread(target=add) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(total)
ready = threading.Condition(); box = []
def consume():
    with ready:
        while not box: ready.wait()
        print("got", box.pop())
t = threading.Thread(target=consume); t.start()
time.sleep(0.01)
with ready: box.append(7); ready.notify()
t.join()
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda n: zlib.crc32(bytes(n)), range(1000))))

# Processes.
print(subprocess.run(["sort", "-n"], input="3\n1\n2\n", text=True, capture_output=True).stdout.split())
p = subprocess.Popen(["sleep", "30"]); p.terminate(); print(p.wait())
try:
    subprocess.run(["sleep", "5"], timeout=0.05)
except subprocess.TimeoutExpired as e:
    print("timeout", e.cmd)
try:
    subprocess.run(["/nonexistent/program"])
except FileNotFoundError as e:
    print(e)
print(subprocess.check_output("echo $0; exit 0", shell=True))
r, w = os.pipe()
if os.fork() == 0:
    os.write(w, b"child"); os._exit(5)
print(os.read(r, 10), os.waitstatus_to_exitcode(os.wait()[1]))

# Signals.
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}); os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigwait({signal.SIGUSR1}), signal.sigtimedwait({signal.SIGUSR2}, 0.01))

# sqlite3 in a file and in memory.
db = sqlite3.connect("data.db"); db.execute("pragma journal_mode=wal")
db.execute("create table t (n integer primary key, s text)")
db.executemany("insert into t (s) values (?)", [(hashlib.md5(bytes([i % 256])).hexdigest(),) for i in range(5000)])
db.commit(); print(db.execute("select count(*), min(s), max(s) from t").fetchone(), db.execute("pragma integrity_check").fetchone())
db.close(); print(sorted(os.listdir(".")))

# ctypes.
libc = ctypes.CDLL(None, use_errno=True)
print(libc.strlen(b"seven.."), libc.open(b"/nonexistent", 0), os.strerror(ctypes.get_errno()))
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 5)(3, 1, 4, 1, 5)
libc.qsort(numbers, 5, 4, compare(lambda a, b: a[0] - b[0])); print(list(numbers))

# Memory and files.
with open("map", "w+b") as f:
    f.truncate(1 << 20)
    m = mmap.mmap(f.fileno(), 0); m[4096:4100] = b"page"; m.flush(); m.resize(2 << 20); m[-4:] = b"tail"; m.close()
    f.seek(4096); print(f.read(4), os.fstat(f.fileno()).st_size)
    fcntl.lockf(f, fcntl.LOCK_EX)
with gzip.open("z.gz", "wt") as f: f.write("line\n" * 10000)
print(sum(1 for _ in gzip.open("z.gz", "rt")), os.sendfile and "sendfile")
poll = select.epoll(); r, w = os.pipe(); poll.register(r, select.EPOLLIN); print(poll.poll(0)); os.write(w, b"x"); print(len(poll.poll(1)))
os.makedirs("tree/a/b"); open("tree/a/b/f", "w").close(); shutil.copytree("tree", "copy"); shutil.rmtree("tree"); print(list(os.walk("copy")))
print(pickle.loads(pickle.dumps(collections.Counter("mississippi"))).most_common(2), sys.getrecursionlimit())
print(len(os.urandom(16)), os.cpu_count() >= 1, os.sched_getaffinity(0) == os.sched_getaffinity(os.getpid()))
os.kill(os.getpid(), signal.SIGSEGV)
PY
python3 -u run.py; echo "status $?"
