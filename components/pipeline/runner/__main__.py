"""`python -m components.pipeline.runner` prints the script, for a reader and for shellcheck."""

import sys

from components.pipeline import runner

sys.stdout.buffer.write(runner.text())
