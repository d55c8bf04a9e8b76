"""Makes docs/config.md from the keys: `python -m components.pipeline.config.reference`."""

import sys
from typing import Final

from ..errors import ConfigError
from .activation import ACTIVATION
from .caches import CACHE
from .checks import CHECK
from .docker import DOCKER
from .hosts import HOST
from .incus import INCUS, INCUS_HOST
from .incus_volumes import VOLUME
from .jumps import JUMP
from .registry import REGISTRY
from .rollout import ROLLOUT
from .schema import Key, Table
from .services import SERVICE
from .stack import STACK, parse
from .timeouts import TIMEOUTS

_INTRO: Final = """\
# Configuration

All settings are Pulumi config, in the project's own namespace (`flakeup:` unless you rename the
project), in one file per stack: `Pulumi.<stack>.yaml`. This page is made from the code by
`make docs`, and a test compares the two.

```yaml
config:
  flakeup:appRef: v2.1.0            # a release is: pulumi config set appRef v2.1.0
  flakeup:flake: ./flake
  flakeup:hosts:
    web1:
      address: web1.example.org
      hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q
  flakeup:activation:
    checks:
      web:                          # the new release answers, or the host rolls back
        http: http://localhost:8080/
        contains: app {appRef} on {name}
      port:
        tcp: "{address}:8080"
        from: deployer
  flakeup:rollout:
    waves: [2, 5]                   # one canary, two hosts, then five at a time
```

A text that YAML reads as something else, such as `2.10`, `1e5`, `010`, `0x10`, `1_000`, `null` or
`2026-01-31`, needs quotes (`appRef: "2.10"`); `pulumi config set appRef 2.10` adds them. Without
quotes it is refused: as a value, as a name and in a list. Write quotes before anything else changes
the file: `pulumi stack init` and `pulumi config set` write all of it as they have read it, and from
then on it says `"2.1"`.

Editors check and complete a stack's file with the JSON schema in `config.schema.json`, made from
the same code: with the YAML language server, write this line at the top of it.

```yaml
# yaml-language-server: $schema=docs/config.schema.json
```
"""

_WRONG: Final = {"apRef": "v2.1.0", "hosts": {"web1": {"address": "10.0.0.5", "port": 65536}}}

_PROBLEMS: Final = """\
## Problems

The whole config is checked before any process or connection is started, and all problems are
reported at once: the key, its value (shortened and escaped; a secret is shown as `[secret]`), why
it was refused, and what to write.
"""


def page() -> str:
    """Give the text of docs/config.md."""
    tables = (
        _section("Stack", STACK),
        _section("Hosts: `hosts.<name>`", HOST),
        _section("Hosts: `hosts.<name>.proxyJump`", JUMP),
        _section("Incus: `incus`", INCUS),
        _section("Incus: `hosts.<name>.incus`", INCUS_HOST, without=INCUS),
        _section("Incus: `hosts.<name>.incus.volumes.<name>`", VOLUME),
        _section("Docker: `docker`", DOCKER),
        _section("Docker: `docker.registry`", REGISTRY),
        _section("Docker: `services.<name>`", SERVICE),
        _section("Activation: `activation`", ACTIVATION),
        _section("Checks: `activation.checks.<name>`", CHECK),
        _section("Rollout: `rollout`", ROLLOUT),
        _section("Timeouts: `timeouts`", TIMEOUTS),
        _section("Caches: `caches`", CACHE),
    )
    return "\n".join([_INTRO, *tables, _PROBLEMS, _example()])


def _section(title: str, table: Table, without: Table | None = None) -> str:
    """The section of a table; `without` the keys that it shares with another one."""
    head = "| key | value | default | limits | meaning |\n| --- | --- | --- | --- | --- |"
    rows = [_row(key) for key in table.keys if without is None or key.name not in without]
    return "\n".join([f"## {title}\n\n{table.about}\n", head, *rows, ""])


def _row(key: Key) -> str:
    default = f"`{key.default}`" if key.default else key.otherwise
    if key.required:
        default = "**required**"
    cells = (f"`{key.name}`", key.takes, default or "none", key.limits, key.meaning)
    return "| " + " | ".join(cells) + " |"


def _example() -> str:
    try:
        parse(_WRONG, stack="prod")
    except ConfigError as error:
        return f"```text\n{error}\n```\n"
    msg = "the example of a wrong config is not wrong"
    raise AssertionError(msg)


if __name__ == "__main__":
    sys.stdout.write(page())
