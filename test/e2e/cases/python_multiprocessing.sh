# part: long
# timeout: 120
cat > mp.py <<'END'
import multiprocessing as mp
from multiprocessing import shared_memory

def square(x):
    return x * x

def feed(queue):
    for i in range(5):
        queue.put(i)
    queue.put(None)

def main():
    with mp.Pool(3) as pool:
        print(pool.map(square, range(10)))
    queue = mp.Queue()
    process = mp.Process(target=feed, args=(queue,))
    process.start()
    got = []
    while (item := queue.get()) is not None:
        got.append(item)
    process.join()
    print(got, process.exitcode)
    with mp.Manager() as manager:
        d, l = manager.dict(), manager.list([1, 2])
        d["a"] = 1
        l.append(3)
        print(dict(d), list(l))
    a = shared_memory.SharedMemory(create=True, size=100)
    a.buf[0] = 7
    b = shared_memory.SharedMemory(name=a.name)
    print(b.buf[0])
    b.close()
    a.close()
    a.unlink()
    left, right = mp.Pipe()
    left.send({"x": [1, 2]})
    print(right.recv())
    for method in ("spawn", "forkserver"):
        with mp.get_context(method).Pool(2) as pool:
            print(method, pool.map(abs, [-1, -2]))

if __name__ == "__main__":
    main()
END
/usr/bin/python3 mp.py
