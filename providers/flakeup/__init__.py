"""The project's own provider plugin: resources of Incus and Docker.

No released provider has what this project needs: an image whose fingerprint is known before it is
uploaded, an instance that a new image does not replace, a host key that is known before the first
connection, a container that must become healthy before the traffic moves to it. The work is done in
`components/pipeline/targets`; the modules here are its interface to the engine.
"""

from typing import Final

VERSION: Final = "0.1.0"
