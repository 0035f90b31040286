# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host, a network or another user must not bring about: all of it tried on real sockets and files."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import silence, transfer
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import wire as wires
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session, encode
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.wire import make_url, normal_url, tls_context

SIX = "::1"


def session_to(url, **options):
    return Session(url, "root", "secret", **{"retry_for": 0, "timeout": 5, **options})


# ---- who is trusted


def test_ca_path_is_the_only_authority(serve, tls, tmp_path, monkeypatch):
    """The operating system trusts the server's authority, the user another one."""
    context, system = tls("127.0.0.1")
    _context, mine = tls("xen1.example")
    monkeypatch.setenv("SSL_CERT_FILE", system)
    server = serve(context=context)
    assert session_to(server.url).login().reference
    (tmp_path / "folder").mkdir()
    os.link(mine, tmp_path / "folder/mine.pem")
    for ca_path in (mine, str(tmp_path / "folder")):
        with pytest.raises(XapiUnreachable) as caught:
            session_to(server.url, ca_path=ca_path).login()
        assert caught.value.code == "CERTIFICATE_INVALID"
        assert len(tls_context(True, ca_path).get_ca_certs()) == 1


def test_a_folder_without_certificates_is_no_ca_path(tmp_path):
    (tmp_path / "README").write_text("nothing")
    with pytest.raises(XapiError, match="holds no PEM certificate"):
        Session("https://xen1", ca_path=str(tmp_path))


def test_https_never_goes_without_rules():
    with pytest.raises(ValueError, match="TLS rules"):
        wires.Wire("https://127.0.0.1:1", None, 1).connect()


# ---- where it leads


@pytest.mark.parametrize("where", [
    "evil:99", "evil:99/x", "[::1", "::1]:5", "a b", "user@evil", "", "evil\n.example", "../x", "1.2.3", "999.1.1.1", "x" * 64,
])  # fmt: skip
def test_a_host_points_to_something_that_is_no_host(server, wire, where):
    server.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", where)
    session = session_to(server.url)
    with pytest.raises(XapiError, match="which is neither an address nor a host name") as caught:
        session.login()
    assert caught.value.code == "HOST_IS_SLAVE" and len(server.calls) == 1
    assert session.url == server.url


@pytest.mark.parametrize("where", [
    "192.0.2.1", "fd00::17", "xen1", "xen-1.example.com", "xen_1.example.", "bücher.example", "fe80::1%eth0",
])  # fmt: skip
def test_hosts(where):
    assert wires.is_host(where)
    assert urlsplit(make_url("https", where, None)).hostname == where


@pytest.mark.parametrize(("one", "other"), [("fd00:0::17", "[FD00::0017]"), ("https://[::0001]:8443", "[::1]:8443")])
def test_one_address_is_one_url(one, other):
    assert normal_url(one) == normal_url(other)


@pytest.mark.parametrize("where", ["https://root:pw@xen1", "root:pw@xen1"])
def test_a_password_in_the_address_is_not_told(where):
    with pytest.raises(XapiError) as caught:
        normal_url(where)
    assert "pw" not in f"{caught.value}{caught.value.hint}{caught.value.params}"


@pytest.mark.parametrize("where", ["xen\n1", "xen1\x00", "xen1:99999999", "xen 1", "[fd00::zz]", "a..b"])
def test_what_is_no_address(where):
    with pytest.raises(XapiError, match="is not the address of a XAPI host"):
        normal_url(where)


def test_a_transfer_is_led_to_something_that_is_no_host(serve):
    server = transfers(serve())
    server.http["GET"] = lambda handler: handler.send(302, b"", headers=[("Location", "http://evil:9x9/export")])
    with pytest.raises(XapiError, match="is not the address of a XAPI host"):
        transfer.get(Session(server.url, reference="s", timeout=5), "/export", {}, io.BytesIO(), limit=100)


# ---- IPv6


@pytest.fixture
def six(serve, monkeypatch):
    """A factory of servers at ::1, whose port is that of the scheme."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")

    def start(context=None):
        try:
            server = serve(host=SIX, context=context)
        except OSError:
            pytest.skip("there is no ::1 here")
        monkeypatch.setitem(wires.PORTS, "https" if context else "http", server.port)
        return server

    return start


@pytest.mark.parametrize("url", ["http://[::1]", "http://[::1]/", "http://[0::1]"])
def test_ipv6_without_a_port(six, url):
    server = six()
    assert session_to(url).login().reference
    assert session_to(f"{url.rstrip('/')}:{server.port}").login().reference
    assert server.names() == ["session.login_with_password"] * 2


@pytest.mark.parametrize("url", ["::1", "[::1]", "https://[::1]"])
def test_ipv6_without_a_port_by_tls(six, tls, url):
    context, ca = tls(SIX)
    server = six(context)
    server.methods["VM.get_all"] = []
    with session_to(url, ca_path=ca) as session:
        assert session.call("VM.get_all") == session.bulk("VM.get_all") == []
        assert session.peer() == SIX and session.server_name == SIX
    with pytest.raises(XapiUnreachable, match="is not trusted"):
        session_to(url, ca_path=tls("::2")[1]).login()


@pytest.mark.parametrize("where", [SIX, "[::1]"])
def test_a_coordinator_with_an_ipv6_address(six, serve, wire, where):
    coordinator = six()
    other = serve(host="127.0.0.1", port=coordinator.port)
    other.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", where)
    # With a port, and without: then it is the scheme's.
    for url in (other.url, "http://127.0.0.1"):
        session = session_to(url).login()
        assert coordinator.names()[-1] == "session.login_with_password"
        assert urlsplit(session.url).hostname == SIX


def test_transfers_by_ipv6(six, serve):
    first = transfers(six())
    second = transfers(serve(host=SIX))
    second.http["GET"] = lambda handler: handler.send(200, b"disk")
    second.http["PUT"] = lambda handler: second.received.append(handler.rfile.read(4)) or handler.send(200, b"")
    for verb in ("GET", "PUT"):
        first.http[verb] = lambda handler: handler.send(302, b"", headers=[("Location", f"http://[::1]:{second.port}{handler.path}")])
    session, target = Session("http://[::1]", reference="s", timeout=5), io.BytesIO()
    assert transfer.get(session, "/export", {}, target, limit=100) == 4 and target.getvalue() == b"disk"
    transfer.put(session, "/import", {}, io.BytesIO(b"body"), 4)
    assert second.received == [b"body"]


@pytest.mark.parametrize("where", ["evil:99", "a\0b", "x" * 300, "..", ""])
def test_silence_of_something_that_is_no_address(where):
    assert "nobody can tell whether it is off" in silence.signs_of_life("https://nowhere.invalid", where)


def test_silence_of_an_ipv6_address(six, monkeypatch):
    server = six()
    monkeypatch.setattr(silence, "PORTS", (server.port,))
    sign = f"it takes connections at [::1]:{server.port}"
    assert silence.signs_of_life("https://[::1]") == silence.signs_of_life("https://192.0.2.1", SIX) == sign


# ---- how long, and how much


@pytest.fixture
def raw():
    """A factory of listeners that read a request and answer with pieces, forever: their URL."""
    listeners, over = [], threading.Event()

    def start(head, piece, pause, context=None):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def attend(connection):
            with contextlib.suppress(OSError):
                if context:
                    connection = context.wrap_socket(connection, server_side=True)
                with connection:
                    connection.recv(65536)
                    connection.sendall(head)
                    while not over.wait(pause):
                        connection.sendall(piece)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=attend, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        return f"{'https' if context else 'http'}://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    over.set()
    for listener in listeners:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


OK = b"HTTP/1.1 200 OK\r\n"
# Each byte comes long before the time-out, and the end never.
DRIPS = {
    "a status line": (b"", b"H"),
    "headers": (OK, b"X: y\r\n"),
    "a header": (OK + b"X: ", b"y"),
    "a body": (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
    "a body without an end": (OK + b"\r\n", b"x"),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "an error": (b"HTTP/1.1 500 Oops\r\n\r\n", b"x"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", DRIPS)
def test_an_answer_that_comes_drop_by_drop(raw, tls, kind, secure):
    context, ca = tls("127.0.0.1") if secure else (None, None)
    url = raw(*DRIPS[kind], 0.05, context)
    with in_time(8), pytest.raises(XapiUnreachable) as caught:
        session_to(url, timeout=0.7, ca_path=ca).login()
    assert caught.value.code == "TIMEOUT" and "did not answer within 0.7 seconds" in str(caught.value)


def test_a_transfer_that_comes_drop_by_drop(raw, serve):
    server = transfers(serve())
    server.methods["task.get_record"] = {"status": "pending"}
    url = raw(OK + b"\r\n", b"x", 0.05)
    server.http["GET"] = server.http["PUT"] = lambda handler: handler.send(302, b"", headers=[("Location", f"{url}/export")])
    session = Session(server.url, reference="s", timeout=5)
    with in_time(8), pytest.raises(XapiUnreachable, match=r"was not done within 0\.7 seconds"):
        transfer.get(session, "/export", {}, io.BytesIO(), limit=1 << 30, timeout=0.7)
    assert server.names()[-1] == "task.destroy"


def test_an_upload_that_nobody_reads(raw, serve):
    server = transfers(serve())
    server.methods["task.get_record"] = {"status": "pending"}
    url = raw(b"", b"", 60)
    server.http["PUT"] = lambda handler: handler.send(302, b"", headers=[("Location", f"{url}/import")])
    with in_time(8), pytest.raises(XapiUnreachable, match="was not done within 1 seconds"):
        transfer.put(Session(server.url, reference="s", timeout=5), "/import", {}, io.BytesIO(bytes(1 << 26)), 1 << 26, timeout=1.0)


def test_a_transfer_that_stands_still(raw, serve):
    server = transfers(serve())
    server.methods["task.get_record"] = {"status": "pending"}
    url = raw(OK + b"\r\nx", b"", 60)
    server.http["GET"] = lambda handler: handler.send(302, b"", headers=[("Location", f"{url}/export")])
    with in_time(8), pytest.raises(XapiUnreachable, match=r"or stood still for 0\.7"):
        transfer.get(Session(server.url, reference="s", timeout=0.7), "/export", {}, io.BytesIO(), limit=1 << 30)


@pytest.mark.parametrize("head", [
    OK + b"Content-Length: 999999999999999999\r\n\r\n", OK + b"\r\n", b"HTTP/1.1 500 Oops\r\n\r\n",
    OK + b"Transfer-Encoding: chunked\r\n\r\n",
])  # fmt: skip
def test_an_answer_without_an_end(raw, monkeypatch, head):
    monkeypatch.setattr(wires, "ANSWER_LIMIT", 1 << 20)
    piece = b"10000\r\n" + bytes(1 << 16) + b"\r\n" if b"chunked" in head else bytes(1 << 16)
    with in_time(30), pytest.raises(XapiUnreachable) as caught:
        session_to(raw(head, piece, 0), timeout=20).login()
    assert caught.value.code == "ANSWER_TOO_LARGE" and str(caught.value).endswith("answers with more than 1 MiB")


def test_a_transfer_without_an_end(raw, serve):
    server = transfers(serve())
    url = raw(OK + b"\r\n", bytes(1 << 16), 0)
    server.http["GET"] = lambda handler: handler.send(302, b"", headers=[("Location", f"{url}/export")])
    target = io.BytesIO()
    with in_time(30), pytest.raises(XapiError) as caught:
        transfer.get(Session(server.url, reference="s", timeout=20), "/export", {}, target, limit=1 << 20)
    assert caught.value.code == "ANSWER_TOO_LARGE" and len(target.getvalue()) <= 1 << 20


def test_half_an_answer_is_none(server):
    """The connection ends before what Content-Length says."""
    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"disk")
        handler.close_connection = True

    transfers(server).http["GET"] = half
    server.methods["task.get_record"] = {"status": "pending"}
    with pytest.raises(XapiUnreachable, match="broke"):
        transfer.get(Session(server.url, reference="s", timeout=5), "/export", {}, io.BytesIO(), limit=1 << 20)


def test_all_addresses_of_a_name_share_the_time(monkeypatch, full):
    """The first ones take nobody; the last one does."""
    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (full, full, server.getsockname())])
    with in_time(8), server:
        connection = wires.Connection("http://xen1", None, "")
        connection.end_by(time.monotonic() + 1.5)
        connection.connect()
        assert connection.sock.getpeername() == server.getsockname()
        connection.close()


@pytest.fixture
def full():
    """The address of a listener whose queue is full: it takes nobody."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _unused in range(8)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
    yield listener.getsockname()
    for sock in [*waiting, listener]:
        sock.close()


@pytest.mark.parametrize("value", [
    b"</value>", b"<value><int>x</int></value>", b"<value><struct><value>1</value></struct></value>", b"<value><double>x</double></value>",
    b"\xff\xfe\x00",
])  # fmt: skip
def test_xml_that_is_no_answer(server, wire, value):
    body = b"<methodResponse><params><param>" + value + b"</param></params></methodResponse>"
    server.methods["session.login_with_password"] = wire.Raw(200, body)
    with pytest.raises(XapiUnreachable) as caught:
        session_to(server.url).login()
    assert caught.value.code == "NOT_XAPI"


def test_json_as_deep_as_a_well(server, wire):
    server.methods["VM.get_all"] = wire.Raw(200, b"[" * 100_000)
    with pytest.raises(XapiUnreachable) as caught:
        Session(server.url, reference="s", timeout=5).bulk("VM.get_all")
    assert caught.value.code == "NOT_XAPI"


# ---- what is sent


@pytest.mark.parametrize("text", ["bell\a", "esc\x1b[31m", "nul\0", "\ud800", os.fsdecode(b"caf\xe9"), "\ufffe", "\x0b"])
def test_texts_that_cannot_be_sent(server, text):
    session = session_to(server.url).login()
    for value in (text, [text], {"key": text}, {text: "value"}, {"a": [{"b": text}]}):
        for call in (session.call, session.bulk):
            with pytest.raises(XapiError) as caught:
                call("VM.set_name_label", "ref", value)
            assert caught.value.code == "TEXT_INVALID" and text not in str(caught.value)
    assert server.names() == ["session.login_with_password"]
    for options in ({"username": text, "password": "x"}, {"username": "root", "password": text}):
        with pytest.raises(XapiError, match=f"option {'username' if options['username'] == text else 'password'} has") as caught:
            Session(server.url, **options)
        assert text not in f"{caught.value}{caught.value.params}"


def test_texts_that_can():
    assert encode("tab\t, line\n, ümlaut, \U0001f600, \x7f") == "tab\t, line\n, ümlaut, \U0001f600, \x7f"


# ---- helpers


@contextlib.contextmanager
def in_time(seconds):
    """Far more than what it should take, and far less than forever."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def transfers(server):
    """A server whose task succeeds."""
    record = {"status": "success", "result": "", "error_info": [], "progress": 1.0}
    event = {"class": "task", "ref": "task", "operation": "mod", "snapshot": record}
    server.received = []
    server.methods.update({
        "task.create": "task", "task.destroy": "", "task.get_record": record,
        "event.from": {"events": [event], "token": "t", "valid_ref_counts": {}},
    })  # fmt: skip
    return server
