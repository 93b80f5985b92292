"""`python -m vae_lab.new FOLDER`."""

import shlex
import sys
from pathlib import Path

from vae_lab.errors import UserError, unusable
from vae_lab.new import make
from vae_lab.paths import expanded

USAGE = "python -m vae_lab.new FOLDER makes a project with its own prior and encoder in a new or empty folder"


def main() -> None:
    """Make the project and print how it is used; a mistake is one line and exit code 2."""
    words = sys.argv[1:]
    if words in (["--help"], ["-h"]):
        print(USAGE)
        return
    try:
        if len(words) != 1 or words[0].startswith("-"):
            raise UserError(f"{shlex.join(words)}: {USAGE}" if words else USAGE)
        folder = Path(expanded(words[0]))
        package = make(folder)
    except (UserError, OSError) as error:
        print(f"vae_lab.new: {unusable(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        sys.exit(2)
    print(
        f"{folder}: a project with the package {package}; README.md there says more\n\n"
        f"cd {shlex.quote(str(folder))}\n"
        "python -m vae_lab --config-dir conf experiment=first debug=fast   # seconds\n"
        "python -m vae_lab --config-dir conf experiment=first\n"
        "python -m pytest"
    )


main()
