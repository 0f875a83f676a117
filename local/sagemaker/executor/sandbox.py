"""The container's own file tree: /opt/ml is the job's directory, seen by the job alone.

A mount namespace of its own (unshare(1), as root or with user namespaces) gives every process its /opt/ml. Where that
is not allowed the SM_* variables point into the job's directory instead, and the log says so.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

OPT_ML = Path("/opt/ml")
WITHOUT = (
    "WARNING: no mount namespace is allowed on this machine, so there is no /opt/ml here: "
    "only the SM_* variables point to the job's files"
)

# /opt is rebuilt in memory around its own entries: the machine itself never gets a directory /opt/ml.
_MOUNTS = """
set -e
ml=$1; cwd=$2; shift 2
if [ ! -d /opt/ml ]; then
  mount --rbind /opt /mnt
  mount -t tmpfs -o mode=755,size=1m tmpfs /opt
  for entry in /mnt/* /mnt/.[!.]*; do
    name=/opt/${entry#/mnt/}
    if [ -L "$entry" ]; then cp -P "$entry" "$name"
    elif [ -d "$entry" ]; then mkdir "$name"; mount --rbind "$entry" "$name"
    elif [ -e "$entry" ]; then : > "$name"; mount --bind "$entry" "$name"
    fi
  done
  mkdir /opt/ml
  umount -l /mnt
fi
mount --bind "$ml" /opt/ml
cd "$cwd"
exec "$@"
"""


@functools.cache
def available() -> bool:
    """Say whether a process can get its own /opt/ml here; tried once."""
    if shutil.which("unshare") is None:
        return False
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "probe").touch()
        probe = command(Path(directory), ["test", "-e", "/opt/ml/probe"], OPT_ML)
        tried = subprocess.run(probe, capture_output=True, check=False, timeout=20)
    return tried.returncode == 0


def command(ml: Path, argv: Sequence[str], cwd: Path, *, offline: bool = False) -> list[str]:
    """Return the command that runs `argv` with the directory `ml` as its /opt/ml; it stays one process.

    `offline` leaves it without any network, not even loopback.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    network = ["--net"] if offline else []
    shell = ["/bin/sh", "-c", _MOUNTS, "sandbox", str(ml), str(cwd)]
    return ["unshare", *user, *network, "--mount", "--", *shell, *argv]


def tied(argv: Sequence[str]) -> list[str]:
    """Return the command that dies with the thread which starts it, should the stack be killed."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv] if shutil.which("setpriv") else list(argv)
