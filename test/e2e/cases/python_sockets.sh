# timeout: 120
cat > s.py <<'END'
import os
import socket
import socketserver
import subprocess
import threading

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.strip()[::-1] + b"\n")

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass

with Server("./s.sock", Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for i in range(3):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("./s.sock")
            client.sendall(b"abc %d\n" % i)
            client.shutdown(socket.SHUT_WR)
            print(client.makefile().read())
    server.shutdown()

# A shell whose standard streams are a socket, and a descriptor sent to a child.
a, b = socket.socketpair()
shell = subprocess.Popen(["/bin/sh"], stdin=b, stdout=b, stderr=b)
b.close()
a.sendall(b"echo $((6 * 7)); exit 5\n")
print(a.makefile().read(), shell.wait())
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
r, w = os.pipe()
if os.fork() == 0:
    message, fds, flags, address = socket.recv_fds(b, 10, 1)
    os.write(fds[0], message)
    os._exit(0)
socket.send_fds(a, [b"by way"], [w])
os.wait()
print(os.read(r, 10))
END
/usr/bin/python3 s.py
