"""The project's own provider plugin: Incus images and instances.

No released provider has them as this project needs them: an image named before it is sent, an
instance that is never replaced by a new image, and a host key that is known before the first
connection. What is done is in `components/pipeline/incus`; here it is put before the engine.
"""

from typing import Final

VERSION: Final = "0.1.0"
