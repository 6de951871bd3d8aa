"""The SSH server of the container, as far as its port goes."""

from __future__ import annotations

import socket

from omslab import settings


def main() -> None:
    settings.may_start("sshd")
    with socket.create_server(("0.0.0.0", settings.port("sshd_server_port")), backlog=64) as server:
        while True:
            client, _ = server.accept()
            with client:
                client.sendall(b"SSH-2.0-OpenSSH_7.4\r\n")


if __name__ == "__main__":
    main()
