"""The keys of `incus`: for the parser, its messages and docs/config.md."""

from typing import Final

from .schema import Key, Table

_NAME_LIMITS: Final = "1 to 63 of `A-Z a-z 0-9 . _ -`; begins with a letter or digit"
_SIZE_LIMITS: Final = "a whole number and `MiB`, `GiB`, `TiB`, `MB`, `GB` or `TB`"

_SHARED: Final = (
    Key(
        name="remote",
        takes="a remote's name",
        write="write the name of a remote that `incus remote list` shows, such as local",
        meaning=(
            "The server, by the name that the Incus client of whoever runs the program has for "
            "it: `local` is this machine's own; others are added with `incus remote add`."
        ),
        limits=_NAME_LIMITS,
        default="local",
    ),
    Key(
        name="project",
        takes="a project's name",
        write="write the name of a project that `incus project list` shows, such as default",
        meaning="The project on it: instances, and their images, are made in it.",
        limits=_NAME_LIMITS,
        default="default",
    ),
    Key(
        name="image",
        takes="the name of a system",
        write="write the name of a system in nixosConfigurations, such as incus-base",
        meaning=(
            "The system that new instances are made from: its `system.build.metadata` and "
            "`system.build.squashfs`. One that does not hold the app is built and sent once for "
            "each change of the flake; one that does, at every release."
        ),
        limits="as a host's `attr`",
        otherwise="the host's `attr`",
    ),
    Key(
        name="onImageChange",
        takes="ignore, rebuild or replace",
        write="write ignore, rebuild or replace",
        meaning=(
            "What a new image means for an instance that is there: nothing; a new root, with "
            "name, address, devices and volumes kept; or a new instance."
        ),
        limits="`ignore`, `rebuild` or `replace`",
        default="ignore",
    ),
    Key(
        name="profiles",
        takes="a list of profiles",
        write="write a list, such as profiles: [default]",
        meaning="Its profiles, in their order.",
        limits=f"at most 32; each {_NAME_LIMITS}",
        otherwise="`[default]`",
    ),
    Key(
        name="network",
        takes="a network's name",
        write="write the name of a network that `incus network list` shows, such as incusbr0",
        meaning="Its eth0 is on this network, whatever its profiles say.",
        limits=_NAME_LIMITS,
        otherwise="as its profiles say",
    ),
    Key(
        name="pool",
        takes="a storage pool's name",
        write="write the name of a pool that `incus storage list` shows, such as default",
        meaning="Its root is in this pool, whatever its profiles say.",
        limits=_NAME_LIMITS,
        otherwise="as its profiles say",
    ),
    Key(
        name="rootSize",
        takes="a size",
        write="write a size, such as 20GiB",
        meaning="The size of its root.",
        limits=f"{_SIZE_LIMITS}; only beside `pool`",
        otherwise="as its profiles say",
    ),
    Key(
        name="config",
        takes="a map of texts",
        write='write a map, such as config: {limits.memory: 2GiB, limits.cpu: "2"}',
        meaning=(
            "Its own config, as `incus config set` takes it. `security.nesting` is `true` unless "
            "you say otherwise: without it systemd's credentials, the firewall and nix's sandbox "
            "do not work in a NixOS container."
        ),
        limits="at most 64; not `volatile.`, `image.` or `user.flakeup.`",
    ),
    Key(
        name="devices",
        takes="a map of devices",
        write="write a map, such as devices: {gpu: {type: gpu}}, with all values as text",
        meaning="Its own devices, as `incus config device add` takes them.",
        limits="at most 32; not `root` beside `pool`, nor `eth0` beside `network`",
    ),
    Key(
        name="protect",
        takes="true or false",
        write="write true or false",
        meaning=(
            "Whether Incus and Pulumi both refuse to delete it (`security.protection.delete`). "
            "To remove it, set this to false and run `pulumi up` first."
        ),
        limits="`true` or `false`",
        default="false",
        plain=bool,
    ),
    Key(
        name="transport",
        takes="ssh or exec",
        write="write ssh or exec",
        meaning=(
            "How it is deployed to: over `ssh`, at the address that it says, or by `incus exec`, "
            "which needs no way to it, no sshd and no key; then as root."
        ),
        limits="`ssh` or `exec`; no check from the deployer names `{address}` with `exec`",
        default="ssh",
    ),
    Key(
        name="bootTimeout",
        takes="a time",
        write="write a whole number with a unit, at most 1h, such as 2m",
        meaning="How long it may take from its start until it can be deployed to.",
        limits="1s to 1h",
        default="2m",
        most="1h",
    ),
)

VOLUMES: Final = Table(path="hosts.<name>.incus.volumes", about="The volumes by name.", keys=())
"""The map of volumes: its keys are their names."""

VOLUME: Final = Table(
    path="hosts.<name>.incus.volumes.<name>",
    about=(
        "A storage volume of the instance's own. It is made once, and kept when the root is made "
        "anew, when the instance is replaced, and when it goes."
    ),
    keys=(
        Key(
            name="pool",
            takes="a storage pool's name",
            write="write the name of a pool that `incus storage list` shows, such as default",
            meaning="The pool that it is in.",
            limits=_NAME_LIMITS,
            required=True,
        ),
        Key(
            name="path",
            takes="a path",
            write="write an absolute path, such as /var/lib/postgresql",
            meaning="Where it is in the instance.",
            limits="an absolute path, not `/`",
            required=True,
        ),
        Key(
            name="size",
            takes="a size",
            write="write a size, such as 20GiB",
            meaning="Its size; it may grow.",
            limits=_SIZE_LIMITS,
            otherwise="as large as the pool lets it be",
        ),
        Key(
            name="name",
            takes="a volume's name",
            write="write the name that it has in its pool, such as web1-data",
            meaning="Its name in the pool.",
            limits=_NAME_LIMITS,
            otherwise="the instance's name, `-` and its own",
        ),
        Key(
            name="protect",
            takes="true or false",
            write="write true or false",
            meaning=(
                "Whether Pulumi refuses to delete it. To remove it with what is on it, set this to "
                "false and run `pulumi up` first."
            ),
            limits="`true` or `false`",
            default="true",
            plain=bool,
        ),
    ),
)

FINGERPRINTS: Final = Table(
    path="incus.fingerprints", about="The servers' certificates by remote.", keys=()
)
"""The map of fingerprints: its keys are names of remotes."""

INCUS: Final = Table(
    path="incus",
    about=(
        "How instances of Incus are made, for all hosts with `target: incus`; each of them may "
        "have an `incus` of its own, whose keys go before these (`config` and `devices` are laid "
        "over key by key). They are containers: there are no virtual machines."
    ),
    keys=(
        *_SHARED,
        Key(
            name="fingerprints",
            takes="a map of fingerprints",
            write=(
                "write the certificate_fingerprint that `incus info` on the server shows: 64 hex "
                "digits"
            ),
            meaning=(
                "The sha256 of servers' certificates, by remote. Another certificate is refused "
                "before anything is sent, whatever the client of whoever runs the program has "
                "pinned under that name."
            ),
            limits="64 hex digits each; remotes that hosts are on, not `local`",
        ),
    ),
)
INCUS_HOST: Final = Table(
    path="hosts.<name>.incus",
    about="Beside the keys of the stack's `incus`, an instance has these of its own.",
    keys=(
        *_SHARED,
        Key(
            name="name",
            takes="an instance's name",
            write="write 1 to 63 letters, digits and '-', beginning with a letter",
            meaning="Its name in Incus. Another one renames it, for which it is stopped.",
            limits="1 to 63 of `A-Z a-z 0-9 -`; begins with a letter, ends with no `-`",
            otherwise="the host's name",
        ),
        Key(
            name="volumes",
            takes="a map of volumes",
            write="write a map, such as volumes: {data: {pool: default, path: /var/lib/app}}",
            meaning="Storage volumes that outlive its root.",
            limits="see below; at most 16",
        ),
        Key(
            name="member",
            takes="a cluster member's name",
            write="write the name of a member that `incus cluster list` shows",
            meaning=(
                "The cluster member that it is created on, with its volumes. An existing instance "
                "is not moved: another member is refused, with the command that moves it; one "
                "that was moved by hand, or evacuated, is left where it is."
            ),
            limits=_NAME_LIMITS,
            otherwise="where its volumes are, else the server chooses",
        ),
    ),
)
