# timeout: 120
cat > aio.py <<'END'
import asyncio
import os
import signal

PIPE = asyncio.subprocess.PIPE

async def child():
    p = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", "read x; echo got $x; echo err >&2; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE)
    print(await p.communicate(b"hello\n"), p.returncode)

async def server():
    async def handle(reader, writer):
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def client(i):
        reader, writer = await asyncio.open_unix_connection("./aio.sock")
        writer.write(b"line %d\n" % i)
        writer.write_eof()
        text = await reader.read()
        writer.close()
        return text

    async with await asyncio.start_unix_server(handle, "./aio.sock"):
        print(await asyncio.gather(*[client(i) for i in range(20)]))

async def signals():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, lambda: future.set_result("usr1"))
    os.kill(os.getpid(), signal.SIGUSR1)
    print(await future)

async def main():
    await child()
    await server()
    await signals()
    print(await asyncio.to_thread(lambda: 42))
    try:
        await asyncio.wait_for(asyncio.sleep(5), 0.05)
    except asyncio.TimeoutError:
        print("timeout")

asyncio.run(main())
END
/usr/bin/python3 aio.py
