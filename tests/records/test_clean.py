"""No user name or password of a URL reaches a record."""

import pytest

from runner.records.clean import clean_argv, clean_text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://ada:pw@host/x", "https://host/x"),
        ("https://token@host:8443/x.git#sub", "https://host:8443/x.git#sub"),
        ("https://ada:p@ss@host/x", "https://host/x"),
        ("git+ssh://git@host/x@v1", "git+ssh://host/x@v1"),
        ("pkg @ git+https://ada:pw@host/x@main", "pkg @ git+https://host/x@main"),
        ("--index=https://a:b@h/simple", "--index=https://h/simple"),
        ('{"url": "postgres://a:b@h/db", "other": "HTTP://c@d"}', '{"url": "postgres://h/db", "other": "HTTP://d"}'),
        ("first https://a:b@c/d then https://e:f@g", "first https://c/d then https://g"),
        ("https://host/path@2", "https://host/path@2"),
        ("https://host?mail=a@b", "https://host?mail=a@b"),
        ("https://host#a@b", "https://host#a@b"),
        ("git@host:owner/name", "git@host:owner/name"),
        ("ada@example.org", "ada@example.org"),
        ("https:// a@b", "https:// a@b"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("file:///home/ada@work/x", "file:///home/ada@work/x"),
    ],
)
def test_userinfo_is_taken_out_of_urls_and_nothing_else_is_touched(text, clean):
    assert clean_text(text) == clean
    assert clean_text(clean) == clean


def test_a_command_line_loses_userinfo_and_secret_values():
    argv = ("mlrun", "run", "https://u:hunter2@h/x", "-P", "key=s3cret", "-P", "long=s3cret-more")
    assert clean_argv(argv, ["s3cret", "", "s3cret-more"]) == (
        *("mlrun", "run", "https://h/x", "-P", "key=***", "-P", "long=***"),
    )
