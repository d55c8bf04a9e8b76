"""Failures before a host is changed: one clear message each, with a remedy."""

import re
from pathlib import Path

import pytest

from harness.command_result import Json
from tests.e2e.host_state import Hosts, answers, commit, git, serving, systems
from tests.e2e.stack import Workspace

pytestmark = pytest.mark.e2e

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII37QsfaC6TZC04ULDxkqO8IB9/KJvwLWbiP2ORl634Q"
CONFIG_PROBLEMS = """\
4 problems in the config of stack e2e
config flakeup:appRef: "--upload-pack=touch /tmp/x": has a character that is not allowed here \
('='). write a tag, a branch, refs/... or a full commit id, such as v2.1.0
config flakeup:flake: "http://example.org/flake": has the scheme http:. \
write git+https: for a git repository
config flakeup:hosts.web1.prt: 22: is not a key that flakeup knows. write port
config flakeup:hosts["-oProxyCommand"]: {…}: the name of the host starts with '-'. \
write a name of letters, digits, '.', '_', '-', '@' and '+' that begins with a letter, a digit \
or '_', such as web1 or web1.example.org"""


def refused(workspace: Workspace, hosts: Hosts, *words: str) -> str:
    """`up` fails with one error, no traceback, and no host changed; returns the error."""
    before = systems(hosts)
    result = workspace.up(*words)
    assert result.code != 0
    assert "Traceback" not in result.text
    assert systems(hosts) == before
    (error,) = result.errors()
    return error


def of_the_program(workspace: Workspace, hosts: Hosts, *words: str) -> str:
    """As `refused`, before any resource has changed: so the stack stays settled."""
    error = refused(workspace, hosts, *words)
    workspace.pristine = True
    return error


def test_all_problems_of_a_config_in_one_message(workspace: Workspace, hosts: Hosts) -> None:
    host = workspace.config["hosts"]["web2"]
    workspace.write(
        appRef="--upload-pack=touch /tmp/x",
        flake="http://example.org/flake",
        hosts={**workspace.hosts("web1", web1={"prt": 22}), "-oProxyCommand": host},
    )
    assert of_the_program(workspace, hosts) == CONFIG_PROBLEMS


def test_a_host_attribute_that_the_flake_lacks(workspace: Workspace, hosts: Hosts) -> None:
    workspace.write(appRef="v2", hosts=workspace.hosts(web2={"attr": "webb2"}))
    error = of_the_program(workspace, hosts)
    assert error.startswith(
        "unknown host attribute: webb2: the flake has no nixosConfigurations.webb2 (it has web1, "
    )
    assert error.endswith("). did you mean web2?")


def test_an_unknown_ref(workspace: Workspace, hosts: Hosts, app_url: str) -> None:
    workspace.write(appRef="v22")
    assert of_the_program(workspace, hosts) == (
        f"no such ref: appRef on {app_url}: v22 is not there. did you mean v2?"
    )


def test_a_name_that_is_both_tag_and_branch(
    workspace: Workspace, hosts: Hosts, app: Path, app_url: str
) -> None:
    git(app, "update-ref", "refs/heads/v2", "main")
    try:
        workspace.write(appRef="v2")
        assert of_the_program(workspace, hosts) == (
            f"ambiguous ref: appRef on {app_url}: v2 is both a tag and a branch."
            " write refs/tags/v2 or refs/heads/v2"
        )
        workspace.write(appRef="refs/tags/v2")
        assert workspace.preview().code == 0
    finally:
        git(app, "update-ref", "-d", "refs/heads/v2")


def test_a_git_server_that_is_down(workspace: Workspace, hosts: Hosts) -> None:
    workspace.write(appRef="v2", flake="git+git://127.0.0.1:1/flake", flakeRef="main")
    error = of_the_program(workspace, hosts)
    assert error.startswith("cannot ask the git server: flakeRef on git://127.0.0.1:1/flake: ")
    assert error.endswith(
        "Connection refused. check the URL, the network and your git credentials"
        " (`git ls-remote git://127.0.0.1:1/flake` must answer without a prompt)"
    )


def test_a_flake_that_does_not_evaluate(workspace: Workspace, hosts: Hosts) -> None:
    workspace.fleet(web2={"faults": {"eval-fails": "1"}})
    error = of_the_program(workspace, hosts)
    first, _, remedy = error.partition(". ")
    assert first == (
        "the flake does not evaluate: web2: error: hosts.json: web2: this host does not evaluate"
        " (fault eval-fails)"
    )
    assert "nixosConfigurations.web2 shows the whole trace" in remedy


def test_a_moved_tag_is_refused_until_app_rev_names_its_commit(
    workspace: Workspace, hosts: Hosts, app: Path
) -> None:
    old, new = commit(app, "v1"), commit(app, "v2")
    git(app, "update-ref", "refs/tags/moving", old)
    workspace.write(appRef="moving")
    assert workspace.up().code == 0
    git(app, "update-ref", "refs/tags/moving", new)
    for result in (workspace.preview(), workspace.up()):
        assert result.code != 0
        (error,) = result.errors()
        assert error == (
            'before hook "release" failed: a tag has moved: appRef moving:'
            f" it was last deployed as {old}, and is {new} now. find out who moved it;"
            f" to deploy it anyway, `pulumi config set appRev {new}`"
        )
    assert answers(hosts) == serving("v1", "web1", "web2")

    workspace.write(appRef="moving", appRev=new)
    result = workspace.up()
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", "web1", "web2")


def test_a_failed_build(workspace: Workspace, hosts: Hosts) -> None:
    workspace.fleet(web2={"faults": {"build-fails": "1"}})
    workspace.write(appRef="v2")
    error = refused(workspace, hosts)
    first, *detail, remedy = error.splitlines()
    assert first.startswith(
        'before hook "build" failed: the build failed: web2: error: builder for \'/nix/store/'
    )
    assert "> cannot build this host (fault build-fails)" in detail
    assert remedy == "no host was changed; fix the flake or the app, then run `pulumi up` again"

    workspace.fleet()
    result = workspace.up()
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", "web1", "web2")


HOST_FAULTS: dict[str, Json] = {
    r"host key mismatch: web2 \(deploy@ADDRESS, port 22\): "
    r"pinned SHA256:yNT5n8hdRjAknFoYsWMCuhr3b1QNQiKze9WJ3iJTfHY, offered SHA256:\S{43}\. "
    r"find out why it changed; only then put the new key into hosts' hostKey": {
        "hostKey": OTHER_KEY
    },
    r"cannot reach the host: web2 \(deploy@ADDRESS, port 2222\): "
    r"ssh: connect to host ADDRESS port 2222: Connection refused\. "
    r"check address, port, network and that sshd runs": {"port": 2222},
    r"the login was refused: web2 \(nobody-here@ADDRESS, port 22\): "
    r"nobody-here@ADDRESS: Permission denied \(publickey\S*\)\. "
    r"add the public half of sshKey \(or of your agent's key\) to its authorized keys": {
        "user": "nobody-here"
    },
}


@pytest.mark.parametrize(
    ("wanted", "change"), HOST_FAULTS.items(), ids=("another key", "another port", "another user")
)
def test_a_host_that_refuses_the_connection(
    workspace: Workspace, hosts: Hosts, wanted: str, change: Json
) -> None:
    workspace.write(appRef="v2", hosts=workspace.hosts("web2", web2=change))
    error = of_the_program(workspace, hosts, "--target", "**::web2-copy")
    pattern = wanted.replace("ADDRESS", re.escape(hosts["web2"].address))
    assert re.fullmatch(f'before hook "web2-copy" failed: {pattern}', error), error


def test_no_key_to_log_in_with(workspace: Workspace, hosts: Hosts) -> None:
    workspace.write(appRef="v2", sshKey=None)
    error = of_the_program(workspace, hosts, "--target", "**::web2-copy")
    assert "the login was refused: web2 (deploy@" in error
    assert error.endswith(
        "there is no key to log in with: `pulumi config set --secret sshKey < KEYFILE`,"
        " or start an ssh-agent that holds one"
    )


def test_a_good_config_works_after_all_refusals(workspace: Workspace, hosts: Hosts) -> None:
    """None of the previous refusals has left anything behind."""
    workspace.write(appRef="v2")
    result = workspace.up()
    assert result.code == 0, result.text
    assert answers(hosts) == serving("v2", "web1", "web2")
