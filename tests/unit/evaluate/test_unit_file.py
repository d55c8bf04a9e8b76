"""Reading the texts of units by systemd's rules."""

import pytest

from components.pipeline.evaluate.unit_file import parse


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[Service]\nExecStart=/bin/a\n", ("/bin/a",)),
        ("[Service]\nExecStart=/bin/a", ("/bin/a",)),
        ("[Service]\n ExecStart =  /bin/a  \n", ("/bin/a",)),
        ("[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n", ("/bin/a", "/bin/b")),
        ("[Service]\nExecStart=/bin/a\nExecStart=\nExecStart=/bin/b\n", ("/bin/b",)),
        ("[Service]\nExecStart=/bin/a\nExecStart=\n", ()),
        ("[Service]\nExecStart=/bin/a \\\n  b\n", ("/bin/a    b",)),
        ("[Service]\nExecStart=/bin/a \\\n# a comment\n; another\n  b\n", ("/bin/a    b",)),
        ("[Service]\nExecStart=/bin/a \\", ("/bin/a",)),
        ("[Service]\n#ExecStart=/bin/a\n  ;ExecStart=/bin/b\n", ()),
        ("[Service]\nExecStart=/bin/a # no comment\n", ("/bin/a # no comment",)),
        ("[Service]\nExecStart=/bin/a --b=c\n", ("/bin/a --b=c",)),
        ("[Service]\nExecStart=/bin/a\n[Unit]\nA=b\n[Service]\nExecStart=c\n", ("/bin/a", "c")),
        ("[Service]\nnonsense\n\nExecStart=/bin/a\n", ("/bin/a",)),
        ("[Unit]\nExecStart=/bin/a\n", ()),
        ("ExecStart=/bin/a\n", ()),
        ("[Service]\nEnvironment=A=\\x20b\nExecStart=/bin/a\n", ("/bin/a",)),
        ("[Service]\r\nExecStart=/bin/a\r\n", ("/bin/a",)),
        ("", ()),
    ],
)
def test_values(text: str, values: tuple[str, ...]) -> None:
    assert parse(text).values("Service", "ExecStart") == values


def test_drop_ins_add_to_the_unit_and_replace_what_they_clear() -> None:
    unit = "[Service]\nExecStart=/bin/a\nEnvironment=A=1\n"
    file = parse(unit, "[Service]\nExecStart=\nExecStart=/bin/b\nEnvironment=B=2\n")
    assert file.values("Service", "ExecStart") == ("/bin/b",)
    assert file.values("Service", "Environment") == ("A=1", "B=2")
    assert file.cleared == frozenset()


def test_what_a_text_clears_first() -> None:
    assert parse("[Service]\nExecStart=\nExecStart=/bin/b\n").cleared == {("Service", "ExecStart")}


def test_install_is_left_out() -> None:
    file = parse("[Install]\nWantedBy=a.target\n[Unit]\nAfter=b\n[Empty]\n")
    assert file.sections == {"Unit": {"After": ("b",)}, "Empty": {}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (("true",), True), (("1",), True), (("yes",), True), (("on",), True),
        (("false",), False), (("0",), False), (("no",), False), (("maybe",), False),
        (("true", "false"), False), (("false", "true"), True), (("true", ""), None), ((), None),
    ],
)  # fmt: skip
def test_booleans(values: tuple[str, ...], *, expected: bool | None) -> None:
    file = parse("[Service]\n" + "".join(f"RemainAfterExit={value}\n" for value in values))
    for default in (True, False):
        found = file.is_true("Service", "RemainAfterExit", default=default)
        assert found is (default if expected is None else expected)
