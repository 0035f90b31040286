# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How guests are called in an inventory, whatever they are called in the pool."""
from __future__ import annotations

import itertools

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.inventory.names import (
    LOADED,
    LOCAL,
    TEMPLATE,
    choose_names,
    evaluates,
    fault,
)

UUID = "0000000a-0000-4000-8000-00000000000a"


def free(_name, _uuid):
    return ""


@pytest.mark.parametrize("name", [
    "web", "web-1.example.com", "Windows Server 2022 (64-bit)", "10.0.0.17", "fd00::17", "übung", "a@b", "web_1", "localhoster", "1",
])
def test_names_that_stay(name):
    assert fault(name) == ""


@pytest.mark.parametrize(("name", "why"), [
    *((name, LOCAL) for name in (
        "localhost", "LocalHost", "localhost.", "localhost.localdomain", "a.localhost", "127.0.0.1", "127.9.9.9", "127.1", "0x7f000001",
        "2130706433", "::1", "[::1]", "::ffff:127.0.0.1", "0.0.0.0", "0", "::", "ip6-localhost", "::1%lo",
        "\uff4cocalhost", "127\u30020\u30020\u30021", "\uff11\uff12\uff17.0.0.1", "localhost\uff0e", "local\ufe00host", "\uff1a\uff1a1",
    )),
    *((name, LOADED) for name in (
        "../../etc/cron.d/x", "a/b", "a\\b", "..", ".", ".ssh", "a..b", "a\nb", "a\x1b[2Jb", "a\x00", "a\u202eb", "-oProxyCommand=id",
        "node1:22", "[::1]:22", "web,all", "*", "w?b", "web[0:3]", "!web", "&web", "~.*", "@file", " node1", "node1 ", "node1\u00a0",
    )),
    *((name, TEMPLATE) for name in (
        "{{ x }}", "{% x %}", "{#", "{",
        "#jinja2:variable_start_string:'[['\n[[ x ]]", "lookup('pipe', 'id')", "q ('x')",
        "cycler.__init__.__globals__.os.popen('id').read()", "x is string(lookup('pipe', 'id'))", "query.func(a, b)", "q(*x)", "(q)(a, b)",
        "lookup('pipe', 'id') %} x", "lookup('pipe', 'id') }} x", "''.join(x)", "hostvars.set_host_facts(a, b)", "(x | attr(y))(z)",
    )),
])
def test_names_that_mean_something_else(name, why):
    assert fault(name) == why
    (chosen,), _twins, (said,) = choose_names([(name, UUID)], free)
    assert fault(chosen) == ""
    assert chosen == UUID if why == TEMPLATE else chosen.endswith("-0000000a")
    assert why in said
    assert said.isprintable()


def test_namesakes_are_told_apart_whatever_the_order():
    named = [("web", "aaaaaaaa-1"), ("twin", "bbbbbbbb-1"), ("twin", "cccccccc-1"), ("db", "dddddddd-1")]
    for order in itertools.permutations(named):
        names, twins, said = choose_names(order, free)
        assert dict(zip((uuid for _name, uuid in order), names, strict=True)) == {
            "aaaaaaaa-1": "web", "bbbbbbbb-1": "twin-bbbbbbbb", "cccccccc-1": "twin-cccccccc", "dddddddd-1": "db",
        }
        assert twins == {"twin": ["bbbbbbbb-1", "cccccccc-1"]}
        assert said == ["2 guests or hosts have the name twin: bbbbbbbb-1, cccccccc-1. Their names get a suffix."]


def test_a_suffix_that_is_taken():
    named = [("twin", "bbbbbbbb-1"), ("twin", "bbbbbbbb-2"), ("twin", "cccccccc-1"), ("twin-cccccccc", "d")]
    names, _twins, _said = choose_names(named, free)
    assert names == ["twin-bbbbbbbb-1", "twin-bbbbbbbb-2", "twin-cccccccc-1", "twin-cccccccc"]


def test_nobody_gets_a_name_that_is_taken():
    taken = {"all": "that a group has", "all-bbbbbbbb": "that a group has", "all-bbbbbbbb-1": "that a group has"}
    names, _twins, said = choose_names([("all", "bbbbbbbb-1"), ("web", "cccccccc-1")], lambda name, _uuid: taken.get(name, ""))
    assert names == ["all-bbbbbbbb-1-2", "web"]
    assert said == ["Guests or hosts have a name that a group has. In the inventory, 'all' is all-bbbbbbbb-1-2."]


def test_a_name_that_is_cleaned_is_nobody_elses():
    names, _twins, _said = choose_names([("a/b", "bbbbbbbb-1"), ("a_b-bbbbbbbb", "cccccccc-1"), ("a_b", "dddddddd-1")], free)
    assert names == ["a_b-bbbbbbbb-1", "a_b-bbbbbbbb", "a_b"]


def test_who_does_not_have_a_uuid_alone_is_told_apart_by_the_pool():
    named = [("db", UUID), ("{x", UUID), ("db", UUID), ("{x", UUID), ("web", UUID)]
    names, _twins, _said = choose_names(named, free, {0: "a", 1: "a", 2: "b", 3: "b", 4: "b"})
    assert names == ["db-a", f"{UUID}-a", "db-b", f"{UUID}-b", "web"]


@pytest.mark.parametrize("text", [
    "", "web (64-bit)", "}}", "a lookup of (x)", "# jinja2:", "%}", "consequential (q)",
    "DB query (old)", "q (x)", "query (64)", "see lookup (old)", "see lookup('x')", "Bob's box (old)", "mail.example.com (old)",
    "db-1.example.com (old)", "web_1 (new)", "[x] (old)", "a (b) c",
])
def test_nothing_to_evaluate(text):
    assert not evaluates(text)
