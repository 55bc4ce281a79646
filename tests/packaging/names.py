"""A DNS server on 127.0.0.1:53 and an HTTP server on 127.0.0.1:8200 that says "sealed" to everything, for portable.sh.

    names.py answer     vault.test and *.corp.test are 127.0.0.1, everything else does not exist
    names.py refuse     nothing exists
    names.py silence    no DNS query is answered

Each HTTP request's Host goes to standard output, one a line.
"""

import socket
import struct
import sys
import threading

mode = sys.argv[1]


def dns():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, peer = server.recvfrom(4096)
        if mode == "silence":
            continue
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
        name = ".".join(labels)
        known = mode == "answer" and (name == "vault.test" or name.endswith(".corp.test"))
        found = known and kind == 1
        head = query[:2] + struct.pack("!HHHHH", 0x8180 if known else 0x8183, 1, int(found), 0, 0)
        record = struct.pack("!HHHIH4s", 0xC00C, 1, 1, 0, 4, b"\x7f\0\0\1") if found else b""
        server.sendto(head + query[12 : at + 5] + record, peer)


def http(connection):
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            part = connection.recv(4096)
            if not part:
                return
            request += part
        for line in request.split(b"\r\n"):
            if line.lower().startswith(b"host:"):
                print(line[5:].strip().decode(), flush=True)
        body = b'{"errors":["Vault is sealed"]}'
        connection.sendall(
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )


listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 8200))
listener.listen()
threading.Thread(target=dns, daemon=True).start()
while True:
    threading.Thread(target=http, args=(listener.accept()[0],), daemon=True).start()
