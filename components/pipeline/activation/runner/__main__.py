"""`python -m components.pipeline.activation.runner` prints the script: for readers, shellcheck."""

import sys

from . import text

sys.stdout.buffer.write(text())
