"""The locks install on any later day, with the oldest pip that Python brings and the newest."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

LOCKS = [*sorted(ROOT.glob("requirements*.txt")), ROOT / "benchmarks/requirements.txt"]
PIPS = Path(sys.prefix) / "pips"
LATER = "9999"
"""A version that is newer than all that are locked."""

every_lock = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))


def pins(file: Path) -> list[Requirement]:
    """Return what a file pins."""
    found = re.findall(r"^\w\S*==.*", file.read_text(encoding="utf-8"), re.MULTILINE)
    return [Requirement(re.sub(r" (\\|--hash).*", "", pin)) for pin in found]


def own_pins(file: Path) -> list[tuple[str, str]]:
    """Return the names and versions that this Python on this machine takes of a file."""
    own = [pin for pin in pins(file) if pin.marker is None or pin.marker.evaluate()]
    return [(pin.name, str(pin.specifier).removeprefix("==")) for pin in own]


def pip(version: str) -> Path:
    """Return the wheel of a pip; Python runs the program inside."""
    wheel = PIPS / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        pytest.skip(f"pip {version} is not in .venv/pips: make test fetches it")
    return wheel


def write_wheel(folder: Path, name: str, version: str, needs: Iterable[str] = ()) -> str:
    """Make a package that holds nothing but its metadata, and return its hash."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Provides-Extra: {extra}" for extra in ("one", "two")]
    metadata += [f"Requires-Dist: {need}" for need in needs]
    wheel = folder / f"{stem}-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", "\n".join(metadata))
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return sha256(wheel.read_bytes()).hexdigest()


def write_index(folder: Path, versions: dict[str, str]) -> dict[str, str]:
    """Make each package in its locked and in a later version, and return the locked ones' hashes.

    Each asks for another one with extras and without, and for no version in particular: real
    packages ask for less.
    """
    folder.mkdir()
    hashes, names = {}, [*versions]
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        write_wheel(folder, name, LATER)
        needs = [f"{other}{extras}" for extras in ("", "[one,two]")]
        hashes[name] = write_wheel(folder, name, versions[name], needs)
    return hashes


def scene(folder: Path, lock: Path) -> Path:
    """Copy a lock with its constraints, with the hashes of an index beside it."""
    folder.mkdir()
    versions = dict(own_pins(lock))
    hashes = write_index(folder / "index", versions)
    lines = [f"{name}=={versions[name]} --hash=sha256:{hashes[name]}\n" for name in versions]
    options = re.findall(r"^-.+\n", lock.read_text(encoding="utf-8"), re.MULTILINE)
    (folder / "lock.txt").write_text("".join([*options, *lines]))
    (folder / "constraints.txt").write_bytes((lock.parent / "constraints.txt").read_bytes())
    return folder


def install(version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Let a pip say what it would install of a scene's lock into an empty environment."""
    command = [sys.executable, "-I", str(pip(version) / "pip"), "--isolated", "install"]
    command += ["--dry-run", "--ignore-installed", "--disable-pip-version-check", "--no-index"]
    command += ["--find-links", str(folder / "index"), "--require-hashes"]
    command += ["--requirement", str(folder / "lock.txt")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@every_lock
@pytest.mark.parametrize("version", [version for _, version in own_pins(ROOT / "tests/pips.txt")])
def test_a_lock_installs_though_everything_in_it_has_a_newer_release(
    tmp_path: Path, lock: Path, version: str
) -> None:
    done = install(version, scene(tmp_path / "scene", lock))
    assert done.returncode == 0, done.stderr
    [told] = re.findall(r"^Would install (.+)", done.stdout, re.MULTILINE)
    expected = {"-".join(pin) for pin in own_pins(lock)}
    assert {*told.replace("_", "-").split()} == expected


@every_lock
def test_what_a_lock_pins_its_constraints_pin_for_every_extra(lock: Path) -> None:
    first, *_ = lock.read_text(encoding="utf-8").splitlines()
    assert first == "-c constraints.txt"
    constraints = {str(pin) for pin in pins(lock.parent / "constraints.txt")}
    assert {str(pin) for pin in pins(lock)} <= constraints


@pytest.mark.parametrize("folder", sorted({lock.parent for lock in LOCKS}), ids=lambda f: f.name)
def test_no_constraint_is_left_of_what_is_not_locked_any_more(folder: Path) -> None:
    locked = {str(pin) for lock in LOCKS if lock.parent == folder for pin in pins(lock)}
    assert {str(pin) for pin in pins(folder / "constraints.txt")} == locked
