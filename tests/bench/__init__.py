"""scripts/bench: omsfab and its rivals, measured in the same run, in turn.

figures.py   what is measured, the goal beside it, and docs/speed.md; pure
turns.py     the ways of one figure in turn, and the results that are kept
rivals.py    Ansible, pyinfra and parallel-ssh, each in an environment of its own
quick.py     startup, plan: no network
wire.py      command, send: bare servers of a lab
sweep.py     status: many addresses
job.py       job, flood: OMS on OceanBase; hand.sh and playbook.yml are the rivals
"""
