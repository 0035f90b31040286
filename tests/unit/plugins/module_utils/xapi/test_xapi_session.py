# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Session: redirects, renewals, waiting, fall-backs, TLS and what it says when it cannot go on."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session, encode
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import normal_url


def login(server, **options):
    options.setdefault("retry_for", 5)
    options.setdefault("timeout", 5)
    return Session(server.url, "root", "secret", **options).login()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("xen1", "https://xen1"),
        (" xen1:8443 ", "https://xen1:8443"),
        ("http://xen1/", "http://xen1"),
        ("https://xen1:443/path", "https://xen1:443"),
        ("fd00::1", "https://[fd00::1]"),
        ("[fd00::1]:444", "https://[fd00::1]:444"),
    ],
)
def test_address(given, url):
    assert normal_url(given) == url


@pytest.mark.parametrize("given", ["", "ftp://xen1", "https://", "xen1:port"])
def test_bad_address(given):
    with pytest.raises(XapiError) as caught:
        Session(given)
    assert caught.value.code == "INVALID_URL"


def test_encode():
    assert encode(2**31 - 1) == 2**31 - 1
    assert encode(2**31) == "2147483648"
    assert encode(-(2**31)) == -(2**31)
    assert encode(-(2**31) - 1) == "-2147483649"
    assert encode(True) is True
    assert encode({"a": [2**40, {"b": (2**33, False)}]}) == {"a": ["1099511627776", {"b": ["8589934592", False]}]}
    assert encode({1: 1.5}) == {"1": 1.5}


def test_login_call_logout(server):
    server.methods["VM.set_memory"] = lambda session, ref, size: f"{session} {ref} {size}"
    with login(server) as session:
        assert session.reference == "OpaqueRef:session"
        assert session.call("VM.set_memory", "ref", 2**33) == "OpaqueRef:session ref 8589934592"
        assert session.bulk("VM.set_memory", "ref", 2**33) == "OpaqueRef:session ref 8589934592"
    assert session.reference is None
    assert server.calls[0][2][:2] == ["root", "secret"]
    assert [kind for kind, _name, _params in server.calls] == ["xml", "xml", "json", "xml"]
    assert server.names()[-1] == "session.logout"
    assert server.connections == 1


def test_failure_keeps_code_and_params(server, wire):
    server.methods["VM.start"] = wire.Fail("VM_BAD_POWER_STATE", "OpaqueRef:1", "halted", "running")
    session = login(server)
    for call in (session.call, session.bulk):
        with pytest.raises(XapiError) as caught:
            call("VM.start", "OpaqueRef:1")
        assert (caught.value.code, caught.value.params) == ("VM_BAD_POWER_STATE", ["OpaqueRef:1", "halted", "running"])
        assert "is running, but this needs it to be halted" in str(caught.value)


def test_wrong_password(server, wire):
    server.methods["session.login_with_password"] = wire.Fail("SESSION_AUTHENTICATION_FAILED", "root", "bad")
    with pytest.raises(XapiError) as caught:
        login(server)
    assert str(caught.value) == "the user name or the password was refused for user 'root'"
    assert len(server.calls) == 1


def test_follows_the_coordinator_with_scheme_and_port(serve, wire):
    coordinator = serve(host="127.88.0.2")
    other = serve(host="127.88.0.1", port=coordinator.port)
    other.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", "127.88.0.2")
    coordinator.methods["VM.get_all"] = ["OpaqueRef:1"]
    session = login(other)
    assert session.url == coordinator.url
    assert session.call("VM.get_all") == ["OpaqueRef:1"]
    # The coordinator moves while the session lives; the call was refused, so sending it to the new one is safe.
    coordinator.methods["VM.start"] = wire.Fail("HOST_IS_SLAVE", "127.88.0.1")
    other.methods["VM.start"] = ""
    assert session.call("VM.start", "OpaqueRef:1") == ""
    assert session.url == other.url
    assert coordinator.names().count("VM.start") == other.names().count("VM.start") == 1


def test_two_hosts_that_point_at_each_other(serve, wire):
    one = serve(host="127.88.0.3")
    two = serve(host="127.88.0.4", port=one.port)
    one.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", "127.88.0.4")
    two.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", "127.88.0.3")
    with pytest.raises(XapiError) as caught:
        login(one)
    assert caught.value.code == "HOST_IS_SLAVE"
    assert len(one.calls) + len(two.calls) == 3


def expiring(server, wire):
    """Sessions are numbered; only the newest is valid."""
    numbers = []

    def login_method(*_args):
        numbers.append(len(numbers))
        return f"OpaqueRef:{numbers[-1]}"

    def start(session, *_args):
        if session != f"OpaqueRef:{numbers[-1]}":
            raise wire.Fail("SESSION_INVALID", session)
        return "done"

    server.methods.update({"session.login_with_password": login_method, "VM.start": start})
    return login_method


def test_invalid_session_is_renewed_once(server, wire):
    expire = expiring(server, wire)
    session = login(server)
    expire()
    assert session.call("VM.start", "ref") == "done"
    assert session.bulk("VM.start", "ref") == "done"
    assert server.names().count("session.login_with_password") == 2
    server.methods["VM.start"] = wire.Fail("SESSION_INVALID", "whatever")
    with pytest.raises(XapiError) as caught:
        session.call("VM.start", "ref")
    assert caught.value.code == "SESSION_INVALID"
    assert server.names().count("session.login_with_password") == 3


def test_joined_session_is_not_renewed_nor_logged_out(server, wire):
    server.methods["VM.get_all"] = lambda session: [session]
    with Session(server.url, reference="OpaqueRef:given") as session:
        assert session.call("VM.get_all") == ["OpaqueRef:given"]
    assert server.names() == ["VM.get_all"]
    server.methods["VM.get_all"] = wire.Fail("SESSION_INVALID", "OpaqueRef:given")
    with pytest.raises(XapiError) as caught:
        session.call("VM.get_all")
    assert str(caught.value) == "the session is no longer valid"
    assert "username and password" in caught.value.hint
    session.logout()
    assert server.names()[-1] == "session.logout"


def test_forks_share_one_login(server, wire):
    expire = expiring(server, wire)
    session = login(server)
    expire()
    forks = [session.fork() for _index in range(6)]
    results = []
    threads = [
        threading.Thread(target=lambda fork=fork: results.append(fork.call("VM.start", "ref"))) for fork in forks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == ["done"] * 6
    assert server.names().count("session.login_with_password") == 2
    with forks[0]:
        pass
    assert "session.logout" not in server.names()
    assert session.reference == forks[1].reference == "OpaqueRef:2"


def test_waits_for_a_booting_host(server, wire):
    attempts = []

    def login_method(*_args):
        attempts.append(1)
        if len(attempts) < 3:
            raise wire.Fail("HOST_STILL_BOOTING")
        return "OpaqueRef:late"

    server.methods["session.login_with_password"] = login_method
    assert login(server).reference == "OpaqueRef:late"


def test_booting_for_too_long(server, wire):
    server.methods["session.login_with_password"] = wire.Fail("HOST_STILL_BOOTING")
    with pytest.raises(XapiError) as caught:
        login(server, retry_for=0.5)
    assert caught.value.code == "HOST_STILL_BOOTING"
    assert len(server.calls) >= 2


def test_waits_for_a_restarting_coordinator(serve):
    server = serve()
    server.methods["VM.start"] = "started"
    session = login(server)
    server.stop()
    revived = []

    def revive():
        time.sleep(0.7)
        revived.append(serve(port=server.port))
        revived[0].methods["VM.start"] = "started again"

    thread = threading.Thread(target=revive)
    thread.start()
    assert session.call("VM.start", "ref") == "started again"
    thread.join()
    assert revived[0].names() == ["VM.start"]


def test_refused_at_first_is_an_error_at_once(free_port):
    began = time.monotonic()
    with pytest.raises(XapiUnreachable) as caught:
        Session(f"http://127.0.0.1:{free_port}", "root", "secret").login()
    assert time.monotonic() - began < 2
    assert caught.value.code == "UNREACHABLE"
    assert str(caught.value) == f"http://127.0.0.1:{free_port} refuses the connection"


def test_unknown_name():
    with pytest.raises(XapiUnreachable) as caught:
        Session("https://no-such-host.invalid", "root", "secret").login()
    assert caught.value.code == "UNREACHABLE"
    assert "cannot be resolved" in str(caught.value)


def test_broken_reply_repeats_reads_only(server, wire):
    broken = []

    def once(*_args):
        broken.append(1)
        if len(broken) == 1:
            raise wire.Drop
        return "fine"

    server.methods.update({"VM.get_record": once, "VM.start": wire.Drop()})
    session = login(server)
    assert session.call("VM.get_record", "ref") == "fine"
    broken.clear()
    assert session.bulk("VM.get_record", "ref") == "fine"
    with pytest.raises(XapiUnreachable) as caught:
        session.call("VM.start", "ref")
    assert caught.value.sent
    assert "broke before the answer came" in str(caught.value)
    assert server.names().count("VM.start") == 1


def test_idle_connection_that_the_server_closed_is_replaced(server):
    server.methods["VM.start"] = "started"
    session = login(server)
    server.hang_up()
    time.sleep(0.1)
    assert session.call("VM.start", "ref") == "started"
    assert server.names().count("VM.start") == 1
    assert server.connections == 2


def test_time_out_is_not_repeated(server):
    server.methods["VM.get_all"] = lambda _session: time.sleep(1.5)
    session = login(server, timeout=0.4)
    with pytest.raises(XapiUnreachable) as caught:
        session.call("VM.get_all")
    assert caught.value.code == "TIMEOUT"
    assert "did not answer within 0.4 seconds" in str(caught.value)
    assert server.names().count("VM.get_all") == 1


def test_event_from_may_block_longer_than_the_time_out(server):
    def events(*_args):
        time.sleep(0.8)
        return "events"

    server.methods["event.from"] = events
    session = login(server, timeout=0.4)
    assert session.bulk("event.from", ["vm"], "", 1.0) == "events"
    assert session.call("event.from", ["vm"], "", 1.0) == "events"


@pytest.mark.parametrize("status", [404, 403, 405, 500])
def test_without_json_rpc(server, status):
    server.json = status
    server.methods["VM.get_all"] = ["OpaqueRef:1"]
    session = login(server)
    assert session.bulk("VM.get_all") == ["OpaqueRef:1"]
    server.json = True
    assert session.fork().bulk("VM.get_all") == ["OpaqueRef:1"]
    assert server.names("json") == []


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, b"<html>not found</html>", "it answers HTTP 404"),
        (200, b"<html><p>hello</html>", "its answer is not XML-RPC"),
        (200, b"hello", "its answer is not XML-RPC"),
    ],
)
def test_not_a_xapi_host(server, wire, status, body, text):
    server.methods["session.login_with_password"] = wire.Raw(status, body)
    with pytest.raises(XapiUnreachable) as caught:
        login(server)
    assert caught.value.code == "NOT_XAPI"
    assert str(caught.value) == f"{server.url} is not a XAPI host: {text}"


def test_trusted_certificate(serve, tls, tmp_path):
    context, ca = tls("127.0.0.1")
    server = serve(context=context)
    server.methods["VM.get_all"] = ["OpaqueRef:1"]
    with login(server, ca_path=ca) as session:
        assert session.call("VM.get_all") == session.bulk("VM.get_all") == ["OpaqueRef:1"]
    assert login(server, ca_path=str(tmp_path)).reference
    assert login(server, ca_path=str(tmp_path / "leaf-127.0.0.1.crt")).reference
    assert login(server, validate_certs=False).reference


def test_untrusted_certificate(serve, tls):
    context, _ca = tls("127.0.0.1")
    server = serve(context=context)
    with pytest.raises(XapiUnreachable) as caught:
        login(server)
    assert caught.value.code == "CERTIFICATE_INVALID"
    assert "is not trusted" in str(caught.value)
    assert "ca_path" in caught.value.hint
    assert "validate_certs" in caught.value.hint
    assert server.calls == []


def test_certificate_for_another_name(serve, tls):
    context, ca = tls("xen1.example")
    server = serve(context=context)
    with pytest.raises(XapiUnreachable) as caught:
        login(server, ca_path=ca)
    assert caught.value.code == "CERTIFICATE_INVALID"


def test_redirect_to_an_untrusted_coordinator(serve, tls, wire):
    context, ca = tls("127.88.0.5")
    other = serve(host="127.88.0.5", context=context)
    coordinator = serve(host="127.88.0.6", port=other.port, context=tls("127.88.0.6")[0])
    other.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", "127.88.0.6")
    with pytest.raises(XapiUnreachable) as caught:
        login(other, ca_path=ca)
    assert caught.value.code == "CERTIFICATE_INVALID"
    assert coordinator.url in str(caught.value)
    assert coordinator.calls == []


def test_https_to_a_plain_port(server):
    with pytest.raises(XapiUnreachable) as caught:
        Session(f"https://127.0.0.1:{server.port}", "root", "secret", timeout=3).login()
    assert "does not speak TLS" in str(caught.value)


def test_bad_ca_path(tmp_path):
    with pytest.raises(XapiError) as caught:
        Session("https://xen1", ca_path=str(tmp_path / "none.pem"))
    assert caught.value.code == "CA_PATH_INVALID"
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(XapiError) as caught:
        Session("https://xen1", ca_path=str(tmp_path / "empty.pem"))
    assert "holds no PEM certificate" in str(caught.value)
