"""parallel-ssh, run by the Python of its own environment: key, width, command line, addresses."""

import sys

from pssh.clients import ParallelSSHClient

key, width, asked, *ips = sys.argv[1:]
client = ParallelSSHClient(ips, user="root", pkey=key, pool_size=int(width))
said = client.run_command(asked)
for one in said:
    list(one.stdout)
client.join()
sys.exit(any(one.exit_code for one in said))
