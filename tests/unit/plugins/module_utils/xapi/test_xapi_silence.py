# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Silence: who must not be taken for dead, tried on real sockets with every place that concludes that something is."""
from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import ssl
import struct
import threading
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.hosts.power import HostPower
from ansible_collections.nobloat.xen.plugins.module_utils.vm import power as vm_power
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import silence
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session
from ansible_collections.nobloat.xen.plugins.modules import guest_guard, pool_coordinator

REAL_PORTS = silence.PORTS
PATIENCE = 0.5  # for those who never answer


def hold(connection, _context):
    """Say nothing until the other side gives up."""
    with contextlib.suppress(OSError):
        while connection.recv(4096):
            pass


def reset(connection, _context):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def shake_hands(connection, context):
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
        hold(secured, context)


def alert(connection, _context):
    """A fatal TLS alert: handshake_failure."""
    connection.recv(4096)
    connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))


def say(status):
    def answer(connection, _context):
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 {status} {http.client.responses[status]}\r\nContent-Length: 0\r\n\r\n".encode())
        hold(connection, None)

    return answer


# Those that speak, or at least take a connection: scheme of their URL, and what they do with it.
ALIVE = {
    "a foreign certificate": ("https", shake_hands),
    "a TLS alert": ("https", alert),
    "no word, and TLS is wanted": ("https", hold),
    "no word": ("http", hold),
    "HTTP 500": ("http", say(500)),
    "HTTP 503": ("http", say(503)),
    "a reset": ("http", reset),
    "a reset, and TLS is wanted": ("https", reset),
}


@pytest.fixture
def listen(tls):
    """A factory of listeners on loopback, by what they do with a connection: their port."""
    context, _ca = tls("xen1")
    sockets = []

    def start(behave):
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _address = listener.accept()
                    threading.Thread(target=attend, args=(connection,), daemon=True).start()

        def attend(connection):
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                behave(connection, context)

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in sockets:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.fixture(autouse=True)
def real_ports(monkeypatch):
    """Not those of the machine that runs the tests."""
    monkeypatch.setattr(silence, "PORTS", ())


def open_session(url, timeout=PATIENCE, **options):
    return Session(url, "root", "secret", timeout=timeout, retry_for=0, **options)


def other_pool(url):
    """What guest_guard makes of another pool: it is silent, or why it is not."""
    known, why = guest_guard.ask_other(
        {"hostname": url, "username": "root", "password": "x", "validate_certs": True, "ca_path": None}, set(), PATIENCE)
    assert known is None
    return why


def coordinator(url, pointing):
    """What pool_coordinator makes of a coordinator that another host points to: whether it answers."""
    module = SimpleNamespace(at=open_session)
    where = pool_coordinator.look(module, pointing)
    assert where[0] == url
    return where[1]


@pytest.mark.parametrize("kind", ALIVE)
def test_whoever_takes_a_connection_lives(listen, kind):
    scheme, behave = ALIVE[kind]
    port = listen(behave)
    url = f"{scheme}://127.0.0.1:{port}"
    with pytest.raises(XapiUnreachable) as caught:
        open_session(url).login()
    assert not caught.value.silent and silence.why_not_off(caught.value, url)
    assert silence.signs_of_life(url) == f"it takes connections at 127.0.0.1:{port}"
    assert other_pool(url)
    with pytest.raises(XapiUnreachable, match="must not be taken for dead"):
        pool_coordinator.look(SimpleNamespace(at=open_session), url)


def test_who_refuses_is_silent(free_port):
    url = f"https://127.0.0.1:{free_port}"
    with pytest.raises(XapiUnreachable) as caught:
        open_session(url).login()
    assert caught.value.silent and silence.why_not_off(caught.value, url) == silence.signs_of_life(url) == other_pool(url) == ""
    assert pool_coordinator.look(SimpleNamespace(at=open_session), url) == (url, False)


def test_no_answer_at_all_is_silence(monkeypatch):
    """A listener whose queue is full takes nobody: to the client, that is a host that is off."""
    monkeypatch.setattr(silence, "PATIENCE", PATIENCE)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    try:
        address = listener.getsockname()
        for _unused in range(8):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(address)
        url = f"http://127.0.0.1:{address[1]}"
        with pytest.raises(XapiUnreachable, match="did not answer within") as caught:
            open_session(url).login()
        assert caught.value.silent and silence.why_not_off(caught.value, url) == ""
    finally:
        for sock in [*waiting, listener]:
            sock.close()


def test_a_refused_login_is_an_answer(server, wire):
    server.methods["session.login_with_password"] = wire.Fail("SESSION_AUTHENTICATION_FAILED", "root", "no")
    assert "refused for user 'root'" in other_pool(server.url)
    with pytest.raises(XapiError, match="refused for user 'root'"):
        pool_coordinator.look(SimpleNamespace(at=open_session), server.url)


def test_a_member_speaks_for_its_pool(serve, wire, free_port):
    """Its coordinator may be dead; the pool is not."""
    member = serve(port=free_port)
    member.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", "127.0.0.2")
    assert coordinator(f"http://127.0.0.2:{free_port}", member.url) is False
    assert f"{member.url} answers" in other_pool(member.url)


def test_a_coordinator_that_others_point_to(serve, wire, free_port):
    member = serve(port=free_port)
    member.methods["session.login_with_password"] = wire.Fail("HOST_IS_SLAVE", "127.0.0.2")
    broken = serve(host="127.0.0.2", port=free_port)
    broken.methods["session.login_with_password"] = wire.Raw(503)
    with pytest.raises(XapiUnreachable, match=f"127.0.0.2:{free_port} cannot be used, and must not be taken for dead"):
        coordinator(f"http://127.0.0.2:{free_port}", member.url)


def test_the_ports_of_xapi():
    assert set(REAL_PORTS) == {443, 80}


def test_all_ports_of_xapi_are_asked(listen, free_port, monkeypatch):
    """Its coordinator's port is closed, as after a restart of stunnel; XAPI listens on another one."""
    other = listen(hold)
    monkeypatch.setattr(silence, "PORTS", (other,))
    url = f"https://127.0.0.1:{free_port}"
    sign = f"it takes connections at 127.0.0.1:{other}"
    assert silence.signs_of_life(url) == silence.signs_of_life("https://192.0.2.1:1", "127.0.0.1") == other_pool(url) == sign
    with pytest.raises(XapiUnreachable, match=f"must not be taken for dead: {sign}"):
        pool_coordinator.look(SimpleNamespace(at=open_session), url)


def test_a_name_that_is_not_resolved_proves_nothing():
    url = "https://no-such-host.invalid:443"
    assert "cannot be resolved" in silence.signs_of_life(url)
    with pytest.raises(XapiUnreachable) as caught:
        open_session(url).login()
    assert not caught.value.silent and "cannot be resolved" in silence.why_not_off(caught.value, url)


@pytest.mark.parametrize(("error", "silent"), [
    (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), True), (OSError(errno.EHOSTUNREACH, "no route"), True),
    (OSError(errno.ENETUNREACH, "no network"), True), (TimeoutError(), True), (TimeoutError(errno.ETIMEDOUT, "timed out"), True),
    (ConnectionResetError(errno.ECONNRESET, "reset"), False), (PermissionError(errno.EPERM, "firewall of our own"), False),
    (OSError(errno.EMFILE, "too many files"), False), (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
    (ssl.SSLError(1, "alert"), False),
])
def test_what_connect_says(error, silent):
    assert silence.nobody_there(error) is silent


@pytest.mark.parametrize(("kind", "down"), [*((kind, False) for kind in ALIVE), ("", True)])
def test_a_host_that_shuts_down_is_off_when_it_takes_no_connection(listen, free_port, kind, down):
    scheme, behave = ALIVE.get(kind, ("http", None))
    url = f"{scheme}://127.0.0.1:{listen(behave) if behave else free_port}"
    host = object.__new__(HostPower)
    host.ref, host.session = "host", open_session(url, reference="OpaqueRef:session")
    assert host._silent() is down


def test_a_host_that_its_pool_has_lost_is_not_off_for_that(listen, free_port):
    def plan(port):
        host = object.__new__(HostPower)
        host.params, host.live, host.name, host.changes = {"power_on": None, "state": "halted"}, False, "xcp1", "changes"
        host.session, host.host = SimpleNamespace(url=f"http://192.0.2.1:{port}"), {"address": "127.0.0.1"}
        return host.plan()

    port = listen(hold)
    with pytest.raises(ValueError, match=f"The pool has lost xcp1, but it is not off: it takes connections at 127.0.0.1:{port}"):
        plan(port)
    assert plan(free_port) == "changes"


def test_the_host_of_a_guest_that_shall_be_reset(listen, free_port):
    port = listen(hold)

    def check(url):
        guest = SimpleNamespace(
            title="guest web1", record={"resident_on": "host1"}, lanes=SimpleNamespace(session=lambda: SimpleNamespace(url=url)),
            world=SimpleNamespace(hosts={"host1": {"name_label": "xcp1", "address": urlsplit(url).hostname}}))
        vm_power.check_dead(guest)

    check(f"http://127.0.0.1:{free_port}")
    with pytest.raises(ValueError, match=f"xcp1 must not be taken for dead, it takes connections at 127.0.0.1:{port}"):
        check(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(("message", "heard"), [
    ("Failed to connect to the host via ssh: root@10.0.0.1: Permission denied (publickey,password).", True),
    ("Failed to connect to the host via ssh: Host key verification failed.", True),
    ("kex_exchange_identification: read: Connection reset by peer\r\nConnection reset by 10.0.0.1 port 22", True),
    ("Connection timed out during banner exchange\r\nConnection to 10.0.0.1 port 22 timed out", True),
    ("ssh: connect to host 10.0.0.1 port 22: No route to host", False),
    ("ssh: connect to host 10.0.0.1 port 22: Connection refused", False),
    ("ssh: connect to host 10.0.0.1 port 22: Connection timed out", False),
    ("ssh: Could not resolve hostname node1: Name or service not known", False),
    ("kex_exchange_identification: Connection closed by remote host\r\nConnection closed by UNKNOWN port 65535", False),
    ("Shared connection to 10.0.0.1 closed.", False),
    # Through a proxy whose far end is off, with -o LogLevel=ERROR; and one that lets nobody in itself.
    ("Failed to connect to the host via ssh: kex_exchange_identification: Connection closed by remote host", False),
    ("Connection timed out during banner exchange", False),
    ("me@jump: Permission denied (publickey).\r\nkex_exchange_identification: Connection closed by remote host", False),
])
def test_what_ssh_says(message, heard):
    assert silence.heard_by_ssh(message) is heard
