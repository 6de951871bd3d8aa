"""docker for a node of the light demo: a program, run by itself, that keeps its state in files.

A container is a directory: the files of the image, with every path of the container in their text
put below it, and processes of this user that say in their environment which container is theirs.
What is run in it has its words changed the same way, and sees them alone in its /proc.  There are
no namespaces; so what binds 0.0.0.0 binds the node's address (sitecustomize.py beside the state).
"""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

NODE = Path(os.environ["OMSFAB_LIGHT_NODE"])
STATE = NODE / "docker"
MARK = "OMSFAB_LIGHT_CONTAINER"
PATHS = re.compile(
    r"(?<![\w.\-/])(?=/(?:root(?!\w)|home/admin|home/ds|u01/|etc/supervisor|etc/pki/nginx"
    r"|usr/lib/omslab|usr/bin/supervisor|tmp/supervisor|tmp/\.lab))"
)
INFO = {
    "DockerRootDir": str(STATE),
    "LiveRestoreEnabled": True,
    "SecurityOptions": "[name=seccomp,profile=default]",
    "DriverStatus": "[[Backing Filesystem extfs]]",
    "Server": {"Version": "20.10.24"},
    "Endpoints": {"docker": {"Host": "unix:///var/run/docker.sock"}},
}


class Refused(Exception):
    """What docker says on standard error, with status 1."""


def main(words: list[str]) -> int:
    try:
        verb, *rest = words
        if verb == "--version":
            print("Docker version 20.10.24, light")
        elif verb in ("version", "info") or words[:2] == ["context", "inspect"]:
            print(shown(option(rest, "--format") or "{{.Server.Version}}", INFO))
        elif words[:2] == ["image", "inspect"]:
            print(shown(option(rest, "--format"), image(rest[-1])))
        else:
            VERBS[verb](rest)
    except Refused as error:
        print(f"Error response from daemon: {error}", file=sys.stderr)
        return 1
    return 0


def option(words: list[str], name: str) -> str:
    return words[words.index(name) + 1] if name in words else ""


def shown(template: str, value: Any) -> str:
    """The few forms of Go's templates that omsfab uses."""
    template = re.sub(
        r"\{\{range (\S+)\}\}(.*?)\{\{end\}\}",
        lambda found: "".join(shown(found[2], one) for one in field(value, found[1])),
        template,
    )

    def one(found: re.Match[str]) -> str:
        word, *rest = found[1].split(" ", 2)
        if word == "json":
            return json.dumps(value)
        if word == "index":
            return str((field(value, rest[0]) or {}).get(json.loads(rest[1]), ""))
        if word == "join":
            return str(json.loads(rest[1])).join(field(value, rest[0]))
        said = field(value, word)
        return str(said).lower() if isinstance(said, bool) else str(said)

    return re.sub(r"\{\{(.*?)\}\}", one, template)


def field(value: Any, path: str) -> Any:
    for name in path.strip(".").split("."):
        value = value.get(name, "")
    return value


# --- images ----------------------------------------------------------------------------------


def image(reference: str) -> dict[str, Any]:
    for file in (STATE / "images").glob("*/image.json"):
        known: dict[str, Any] = json.loads(file.read_text())
        if reference in (known["Id"], *known["RepoTags"]):
            return known
    raise Refused(f"No such image: {reference}")


def load(words: list[str]) -> None:
    source = option(words, "-i")
    came = None if source else io.BytesIO(sys.stdin.buffer.read())
    with tarfile.open(source or None, fileobj=came) as package:

        def member(name: str) -> Any:
            return package.extractfile(name)

        (listed,) = json.load(member("manifest.json"))
        name = listed["Config"].removesuffix(".json")
        at = STATE / "images" / name
        if not at.exists():
            new = at.with_name(f"{name}.{os.getpid()}")
            (new / "files").mkdir(parents=True)
            for layer in listed["Layers"]:
                # Not tarfile: links of the image lead to the root of the container, as they are.
                unpack = ("tar", "-x", "-C", str(new / "files"))
                subprocess.run(unpack, input=member(layer).read(), check=True)
            known = {"Id": f"sha256:{name}", "RepoTags": listed["RepoTags"]}
            known["Config"] = json.load(member(listed["Config"]))["config"]
            (new / "image.json").write_text(json.dumps(known))
            new.rename(at)
    print(f"Loaded image: {listed['RepoTags'][0]}")


# --- containers ------------------------------------------------------------------------------


class Container:
    def __init__(self, name: str) -> None:
        """By name, or by id."""
        self.name = name.removeprefix("/")
        for file in (STATE / "c").glob("[!.]*/container.json"):
            if f'"Id": "{name}"' in file.read_text():
                self.name = file.parent.name
        self.at = STATE / "c" / self.name
        self.root = self.at / "fs"
        try:
            self.record: dict[str, Any] = json.loads((self.at / "container.json").read_text())
        except OSError:
            raise Refused(f"No such container: {name}") from None

    @property
    def pid(self) -> int:
        """Of supervisord, 0 if it is gone."""
        pid = self.record["State"]["Pid"]
        return pid if pid and self.record["Id"] in environment(pid).values() else 0

    def inspected(self) -> dict[str, Any]:
        runs = self.pid
        state = self.record["State"]
        if state["Status"] == "running" and not runs:
            state |= {"Status": "exited", "Running": False, "Pid": 0, "ExitCode": 1}
        return self.record

    def save(self) -> None:
        new = self.at / f"container.{os.getpid()}"
        new.write_text(json.dumps(self.record))
        new.replace(self.at / "container.json")

    def inside(self, text: str, proc: str) -> str:
        """The words with the paths of the container below its root, and its /proc at ``proc``."""
        text = text.replace("unix:///tmp", f"unix://{self.root}/tmp")
        text = PATHS.sub(lambda _: str(self.root), text)
        # What counts the parts of a path is at home there, and says ./proc.
        here = "." if "cut -d / -f 3" in text else proc
        text = re.sub(r"\^\\/proc", lambda _: r"^\.\/proc", text)
        return re.sub(r"(?<![\w.\-/\\])/proc(?=/)", lambda _: f"{here}/proc", text)

    def environment(self) -> dict[str, str]:
        lab, engine = NODE.parents[1], os.environ["OMSFAB_LIGHT_PACKAGES"]
        paths = (f"{lab}/python", f"{self.root}/usr/lib/python3/dist-packages", engine)
        kept = {key: os.environ[key] for key in ("LANG", "HOME") if key in os.environ}
        own = dict(word.split("=", 1) for word in self.record["Config"]["Env"])
        return {
            **kept,
            **{key: value for key, value in os.environ.items() if key.startswith("OMSFAB_LIGHT")},
            **own,
            "PATH": f"{self.root}/usr/bin:{self.root}/bin:{os.environ['PATH']}",
            "PYTHONPATH": ":".join(paths),
            MARK: self.record["Id"],
            "OMSFAB_LIGHT_IP": NODE.joinpath("address").read_text(),
        }

    def members(self) -> list[int]:
        return [pid for pid in processes() if environment(pid).get(MARK) == self.record["Id"]]

    def proc(self) -> Path:
        """A directory whose ``proc`` has the processes of the container, this one among them."""
        for left in (self.at / "p").glob("*"):
            if not Path("/proc", left.name).exists():
                shutil.rmtree(left, ignore_errors=True)
        made = self.at / "p" / str(os.getpid())
        shutil.rmtree(made, ignore_errors=True)
        (made / "proc" / "net").mkdir(parents=True)
        for pid in {*self.members(), os.getpid()}:
            (made / "proc" / str(pid)).symlink_to(f"/proc/{pid}")
        (made / "proc" / "1").symlink_to(f"/proc/{self.pid}")
        (made / "proc" / "uptime").symlink_to("/proc/uptime")
        address = bytes(map(int, NODE.joinpath("address").read_text().split(".")))[::-1].hex()
        rows = Path("/proc/net/tcp").read_text().splitlines()
        ours = [row for row in rows if f" {address.upper()}:" in row]
        (made / "proc" / "net" / "tcp").write_text("\n".join([rows[0], *ours, ""]))
        return made

    def execute(self, words: list[str]) -> None:
        """Become these words."""
        if words[:2] == ["sh", "-s"]:
            words = ["sh", "-c", sys.stdin.read(), "sh", *words[2:]]
        made = self.proc()
        os.chdir(made)
        words = [self.inside(word, str(made)) for word in words]
        program = shutil.which(words[0], path=self.environment()["PATH"])
        if program is None:
            print(f"OCI runtime exec failed: exec: {words[0]!r}: not found", file=sys.stderr)
            sys.exit(127)
        if words[0] == "id":  # of the image's users there are none here
            sys.exit(1)
        os.execve(program, words, self.environment())


def environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in text.split("\0") if "=" in word)


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def run(words: list[str]) -> None:
    """``-dit`` and the flags of omsfab/commands/docker.py, in this order or another."""
    values: dict[str, list[str]] = {}
    rest = [word for word in words if word not in ("-dit", "--pull=never", "--privileged=true")]
    while rest[0].startswith("-"):
        values.setdefault(rest[0], []).append(rest[1])
        rest = rest[2:]
    known, (name,) = image(rest[0]), values["--name"]
    at = STATE / "c" / name
    if at.exists():
        raise Refused(f'Conflict. The container name "/{name}" is already in use')
    new = at.with_name(f".{name}.{os.getpid()}")
    new.mkdir(parents=True)
    binds = [word.split(":")[:2] for word in values["-v"]]
    record = described(known, rest[0], values)
    (new / "container.json").write_text(json.dumps(record))
    shutil.copytree(Path(STATE, "images", known["Id"][7:], "files"), new / "fs", symlinks=True)
    new.rename(at)
    made = Container(name)
    furnish(made, binds)
    begin(made)
    print(record["Id"])


def described(
    known: dict[str, Any], reference: str, values: dict[str, list[str]]
) -> dict[str, Any]:
    """What ``docker inspect`` tells of a new container."""
    pairs = [word.split(":")[:2] for word in values["-v"]]
    binds = [(source.removeprefix(str(NODE)), target) for source, target in pairs]
    environment = (*values.get("-e", []), *known["Config"].get("Env", ()))
    return {
        "Id": secrets.token_hex(32),
        "Name": f"/{values['--name'][0]}",
        "Image": known["Id"],
        "Created": now(),
        "RestartCount": 0,
        "State": {
            "Status": "created", "Running": False, "Pid": 0, "StartedAt": now(),
            "ExitCode": 0, "Error": "",
        },
        "Config": {
            "Labels": dict(word.split("=", 1) for word in values.get("--label", [])),
            "Env": [word for word in environment if not word.startswith("PATH=")],
            "Cmd": known["Config"]["Cmd"],
            "Image": reference,
        },
        "HostConfig": {
            "NetworkMode": "host", "Privileged": True, "PidsLimit": -1,
            "Ulimits": [{"Name": "nproc", "Hard": 65535, "Soft": 65535}],
            "Binds": [":".join(pair) for pair in binds],
        },
        "Mounts": [
            {"Type": "bind", "Source": source, "Destination": target} for source, target in binds
        ],
    }  # fmt: skip


def furnish(made: Container, binds: list[list[str]]) -> None:
    """Put the container's paths into its files, and its mounts into their places."""
    root = made.root
    for path in [path for path in root.rglob("*") if path.is_symlink()]:
        if (target := os.readlink(path)).startswith("/"):
            path.unlink()
            path.symlink_to(f"{root}{target}")
    for name in ("tmp", "usr/bin", "bin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for path in [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]:
        text = made.inside(path.read_text(), "")
        if path.suffix in (".ini", ".conf"):
            text = re.sub(r"^user=.*\n", "", text, flags=re.MULTILINE)
        # supervisorctl looks for its configuration in places of this machine.
        told = f'main(["-c", "{root}/etc/supervisor/supervisord.conf", *sys.argv[1:]])'
        text = text.replace("supervisorctl.main()", f"supervisorctl.{told}")
        path.write_text(text.replace("#!/usr/bin/python3", f"#!{sys.executable}"))
    for name in ("python", "python3"):
        (root / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (root / "bin" / name).chmod(0o755)
    (root / "usr/bin/sh").unlink(missing_ok=True)  # bash of this machine is not at its place
    for source, target in binds:
        there = root / target.removeprefix("/").replace("home/ds", "u01/ds")
        if not Path(source).exists():
            Path(source).mkdir(parents=True)
        there.parent.mkdir(parents=True, exist_ok=True)
        if there.is_dir() and not there.is_symlink():
            shutil.rmtree(there)
        there.unlink(missing_ok=True)
        there.symlink_to(source)


def begin(made: Container) -> None:
    """Start its first process, unless it runs."""
    if made.pid:
        return
    words = [made.inside(word, str(made.at)) for word in made.record["Config"]["Cmd"]]
    if words[:2] == ["/bin/sh", "-c"]:
        words[2] = f"exec {words[2]}"
    with (made.at / "log").open("ab") as log:
        first = subprocess.Popen(
            words, cwd=made.root / "root", env=made.environment(),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    made.record["State"] = {
        "Status": "running", "Running": True, "Pid": first.pid, "StartedAt": now(),
        "ExitCode": 0, "Error": "",
    }  # fmt: skip
    made.save()


def end(made: Container, patience: float) -> None:
    """TERM for its first process, then KILL for all."""
    if made.pid:
        os.kill(made.pid, signal.SIGTERM)
    until = time.monotonic() + patience
    while made.pid and time.monotonic() < until:
        time.sleep(0.1)
    while left := [pid for pid in made.members() if pid != os.getpid()]:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    made.record["State"] |= {"Status": "exited", "Running": False, "Pid": 0}
    made.save()


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def inspect(words: list[str]) -> None:
    print(shown(option(words, "--format"), Container(words[-1]).inspected()))


def names() -> list[str]:
    return [path.parent.name for path in (STATE / "c").glob("[!.]*/container.json")]


def ps(words: list[str]) -> None:
    for made in map(Container, names()):
        if made.pid:
            print(made.record["Id"] if "-q" in words else f"{made.name} Up")


def execute(words: list[str]) -> None:
    flags = [word for word in words[:2] if word in ("-d", "-i")]
    name, *rest = words[len(flags) :]
    made = Container(name)
    if not made.pid:
        raise Refused(f"Container {made.record['Id']} is not running")
    if "-d" in flags:
        if os.fork():
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
    elif "-i" not in flags:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    made.execute(rest)


def logs(words: list[str]) -> None:
    lines = (Container(words[-1]).at / "log").read_text(errors="replace").splitlines()
    print("\n".join(lines[-int(option(words, "--tail") or 0) :]))


def stop(words: list[str]) -> None:
    end(Container(words[-1]), float(option(words, "-t") or 10))
    print(words[-1])


def start(words: list[str]) -> None:
    begin(Container(words[-1]))
    print(words[-1])


def restart(words: list[str]) -> None:
    end(Container(words[-1]), float(option(words, "-t") or 10))
    start(words)


def remove(words: list[str]) -> None:
    made = Container(words[-1])
    if made.pid:
        raise Refused(f"You cannot remove a running container {made.record['Id']}")
    shutil.rmtree(made.at)
    print(words[-1])


VERBS = {
    "load": load, "run": run, "inspect": inspect, "ps": ps, "exec": execute, "logs": logs,
    "stop": stop, "start": start, "restart": restart, "rm": remove,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
