"""A ProxyCommand for ssh: leads to an address, and takes its time with every byte, either way.

`python slow_link.py MILLISECONDS ADDRESS PORT`
"""

import os
import socket
import sys
import threading
import time
from queue import Queue


def carry(read, write, end, delay):
    """Pass on what is read, each piece so many seconds after it came."""
    pieces = Queue()

    def deliver():
        while True:
            due, data = pieces.get()
            time.sleep(max(0.0, due - time.monotonic()))
            if not data:
                end()
                return
            write(data)

    thread = threading.Thread(target=deliver)
    thread.start()
    while True:
        data = read(65536)
        pieces.put((time.monotonic() + delay, data))
        if not data:
            break
    thread.join()


def write_all(data):
    while data:
        data = data[os.write(1, data) :]


def main(milliseconds, address, port):
    link = socket.create_connection((address, int(port)))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    delay = float(milliseconds) / 1000
    out = lambda: link.shutdown(socket.SHUT_WR)  # noqa: E731
    there = threading.Thread(target=carry, args=(lambda n: os.read(0, n), link.sendall, out, delay), daemon=True)
    there.start()
    carry(link.recv, write_all, lambda: os.close(1), delay)


if __name__ == "__main__":
    main(*sys.argv[1:])
