"""The keys of `docker` and `services`: for the parser, its messages and docs/config.md."""

from typing import Final

from .schema import Key, Table

_SECONDS: Final = "1s to 1h"

DOCKER: Final = Table(
    path="docker",
    about="Which Docker daemon runs the services, and the registry that their images go through.",
    keys=(
        Key(
            name="host",
            takes="a daemon's address",
            write=(
                "write unix:///var/run/docker.sock, ssh://deploy@docker.example.org, "
                "or tcp://127.0.0.1:2375 behind a tunnel"
            ),
            meaning=(
                "Where the daemon listens, as DOCKER_HOST has it. Over `ssh` the machine has a "
                "Docker client, and the user may use it; the login is by `sshKey` or an agent."
            ),
            limits=(
                "`unix://` and an absolute path; `ssh://`, a user, an address and perhaps a port; "
                "or `tcp://` and a loopback address and port"
            ),
            default="unix:///var/run/docker.sock",
        ),
        Key(
            name="hostKey",
            takes="a host key",
            write=(
                "write the line of /etc/ssh/ssh_host_ed25519_key.pub on the daemon's machine: "
                "ssh-ed25519 AAAA..."
            ),
            meaning=(
                "The public ed25519 key of the daemon's machine. Every connection verifies it; "
                "nothing turns that off."
            ),
            limits="as a host's `hostKey`; required with `ssh://`, and only there",
        ),
        Key(
            name="registry",
            takes="a map",
            write="write a map, such as registry: {address: registry.example.org/team}",
            meaning=(
                "The registry that images are pushed to and pulled from, so that only layers that "
                "are missing travel."
            ),
            limits="see below",
            otherwise="images are sent to the daemon, whole",
        ),
    ),
)
SERVICES: Final = Table(path="services", about="The services by name.", keys=())
"""The map of services: its keys are their names."""

SERVICE: Final = Table(
    path="services.<name>",
    about=(
        "A service is a container from an image of the flake. A new release is first tried as a "
        "candidate, which has to become healthy; only then is anything changed."
    ),
    keys=(
        Key(
            name="image",
            takes="the name of a package",
            write="write the name of an image in packages.<system>, such as app-image",
            meaning=(
                "The image: `packages.<system>.<image>` of the flake, an archive of dockerTools, "
                "or a script that writes one."
            ),
            limits="as a host's `attr`",
            required=True,
        ),
        Key(
            name="from",
            takes="flake or app",
            write="write flake or app",
            meaning=(
                "Whose `packages` have the image: this flake's, or those of the app's own flake, "
                "at the commit of `appRef` and with that flake's own lock. The edge is this "
                "flake's."
            ),
            limits="`flake` or `app`; `app` needs `appRef`",
            default="flake",
        ),
        Key(
            name="system",
            takes="a system",
            write="write x86_64-linux or aarch64-linux",
            meaning="For which processor the image is: the daemon's.",
            limits="`x86_64-linux` or `aarch64-linux`",
            default="x86_64-linux",
        ),
        Key(
            name="strategy",
            takes="blue-green or recreate",
            write="write blue-green or recreate",
            meaning=(
                "`blue-green`: the new container stands beside the old one until it is healthy, "
                "then the edge sends it what is asked, then the old one goes. `recreate`: the old "
                "one goes first, with a gap; for what may run only once."
            ),
            limits="`blue-green` or `recreate`; `blue-green` with `ports` needs an `edge`",
            default="blue-green",
        ),
        Key(
            name="ports",
            takes="a map of ports",
            write='write a map of port here to port in the container, such as {"80": "8080"}',
            meaning="Ports of the daemon's machine, and the container's that answer there.",
            limits="at most 16; each 1 to 65535",
        ),
        Key(
            name="edge",
            takes="the name of a package",
            write="write the name of an image of HAProxy in packages.<system>, such as edge-image",
            meaning=(
                "The image of the edge: HAProxy 2.4 or later. It has the ports of a `blue-green` "
                "service, and stays where it is when a release comes."
            ),
            limits="as `image`; only beside `ports`",
        ),
        Key(
            name="traffic",
            takes="http or tcp",
            write="write http or tcp",
            meaning="What goes through the edge; connections of http that stay open are moved too.",
            limits="`http` or `tcp`",
            default="http",
        ),
        Key(
            name="command",
            takes="a list of words",
            write='write a list, such as command: ["/bin/app", "--port", "8080"]',
            meaning="What the container runs.",
            limits="at most 64",
            otherwise="what the image says",
        ),
        Key(
            name="env",
            takes="a map of texts",
            write='write a map, such as env: {LOG_LEVEL: info, WORKERS: "4"}',
            meaning=(
                "Environment variables. Everybody who may ask the daemon sees them; one that is "
                "set with `pulumi config set --secret --path` is in the state as a secret only."
            ),
            limits="at most 128; names of `A-Z a-z 0-9 _`",
        ),
        Key(
            name="secrets",
            takes="a map of secrets",
            write="run: pulumi config set --secret --path services.NAME.secrets.FILE",
            meaning=(
                "Files in the container, `/run/secrets/<name>`, that everybody in it may read "
                "(0444) and nobody can write. They are there before it starts, and in no "
                "environment, image, log or clear state; another text is a new container."
            ),
            limits=(
                "at most 64, each a Pulumi secret of 1 byte to 500 KiB; names of "
                "`A-Z a-z 0-9 _ . -`, no `.` or `-` at their start"
            ),
        ),
        Key(
            name="volumes",
            takes="a map of paths",
            write="write a map of volume to path, such as volumes: {data: /var/lib/app}",
            meaning="Named volumes of the daemon, and where they are in the container. They stay.",
            limits="at most 32; absolute paths, each once; no folders of the machine",
        ),
        Key(
            name="user",
            takes="a user",
            write='write a user and group by number, such as user: "1000:1000"',
            meaning="Who it runs as.",
            limits="`UID` or `UID:GID`",
            otherwise="what the image says",
        ),
        Key(
            name="readOnly",
            takes="true or false",
            write="write true or false",
            meaning="Whether its root file system is read-only.",
            limits="`true` or `false`",
            default="false",
            plain=bool,
        ),
        Key(
            name="healthcheck",
            takes="a list of words",
            write='write a list, such as healthcheck: ["/bin/wget", "-q", "http://localhost:8080/"]',
            meaning=(
                "What Docker runs in the container to see whether it is well. Without it, one that "
                "has run for 3 s counts as healthy."
            ),
            limits="at most 64",
        ),
        Key(
            name="healthInterval",
            takes="a time",
            write="write a whole number with a unit, at most 1h, such as 2s",
            meaning="Time between two looks; three bad ones in a row are a verdict.",
            limits=_SECONDS,
            default="2s",
            most="1h",
        ),
        Key(
            name="wait",
            takes="a time",
            write="write a whole number with a unit, at most 1h, such as 1m",
            meaning="How long a candidate, and then the container, may take to become healthy.",
            limits=_SECONDS,
            default="1m",
            most="1h",
        ),
        Key(
            name="grace",
            takes="a time",
            write="write a whole number with a unit, at most 1h, such as 10s",
            meaning="How long the old container may take to stop once it is told to.",
            limits=_SECONDS,
            default="10s",
            most="1h",
        ),
    ),
)
