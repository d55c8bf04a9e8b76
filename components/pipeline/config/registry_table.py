"""The keys of `docker.registry`: for the parser, its messages and docs/config.md."""

from typing import Final

from .schema import Key, Table

REGISTRY: Final = Table(
    path="docker.registry",
    about=(
        "With a registry, an image is pushed to it as `<address>/<image>:<hash of its path>`, "
        "unless that name is there already, and the daemon pulls from there what it lacks. Nothing "
        "is ever removed from a registry. `skopeo` has to be on `PATH`."
    ),
    keys=(
        Key(
            name="address",
            takes="a registry's address",
            write="write where images go, such as registry.example.org/team",
            meaning="The registry, and the path in it that images are put under.",
            limits=(
                "at most 160 of `a-z 0-9 . _ - / :`; a host with a `.` or a port, or `localhost`; "
                "no `https://`; plain http only where the host is this machine"
            ),
            required=True,
        ),
        Key(
            name="username",
            takes="a user's name",
            write="write the name of a user or a robot account",
            meaning=(
                "Who pushes and pulls. Without it, the login of `skopeo login` or `docker login` "
                "on the machine that runs `pulumi up` is used, if there is one."
            ),
            limits="at most 255 characters, no `:`; only with `password`",
        ),
        Key(
            name="password",
            takes="a password",
            write="run: pulumi config set --path docker.registry.password --secret",
            meaning="Its password or token.",
            limits="a Pulumi secret; at most 8192 characters; only with `username`",
        ),
    ),
)
