"""Fetching weights: once, going on after a break, checked, and what is said without a network."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from depthwise.console import Quiet
from depthwise.errors import UserError
from depthwise.files import cache_folder
from depthwise.models.weights.cached import fetch

BODY = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves BODY at every path, in the way that the server's `fault` says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if self.path.startswith("/hub"):
            self.send_response(302)
            self.send_header("Location", "/blob")
            self.send_header("X-Linked-ETag", f'"{server.told}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.fault == "404":
            self.send_error(404)
            return
        start = 0
        if (wanted := self.headers.get("Range")) and server.fault != "no ranges":
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(BODY):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        body = BODY[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.fault == "break":
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body if server.fault != "wrong" else bytes(len(body)))

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHWISE_CACHE", str(tmp_path / "cache"))
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.fault, web.told, web.ranges = "", DIGEST, []
    web.url = f"http://127.0.0.1:{web.server_address[1]}"
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    yield web
    web.shutdown()
    thread.join()
    web.server_close()


def get(server, path="/x-1234.pth", sha256_start=DIGEST[:8]):
    return fetch(server.url + path, "x.pth", sha256_start, Quiet())


def test_a_file_is_fetched_once(server):
    path = get(server)
    assert path.read_bytes() == BODY and path.parent == cache_folder()
    assert get(server) == path
    assert len(server.ranges) == 1
    assert [p.name for p in path.parent.iterdir()] == ["x.pth"]


def test_after_a_break_it_goes_on_where_it_stopped(server):
    server.fault = "break"
    with pytest.raises(UserError, match="try again to go on") as caught:
        get(server)
    assert str(cache_folder() / "x.pth") in str(caught.value)
    assert (cache_folder() / "x.pth.part").stat().st_size == len(BODY) // 2
    server.fault = ""
    assert get(server).read_bytes() == BODY
    assert server.ranges == [None, f"bytes={len(BODY) // 2}-"]


def test_a_server_that_knows_no_ranges_starts_over(server):
    server.fault = "break"
    with pytest.raises(UserError):
        get(server)
    server.fault = "no ranges"
    assert get(server).read_bytes() == BODY


def test_a_whole_part_is_taken_as_it_is(server):
    cache_folder().mkdir()
    (cache_folder() / "x.pth.part").write_bytes(BODY)
    assert get(server).read_bytes() == BODY


def test_what_is_not_what_it_should_be_is_thrown_away(server):
    server.fault = "wrong"
    with pytest.raises(UserError, match=f"not with {DIGEST[:8]}. Try again"):
        get(server)
    assert not any(cache_folder().iterdir())
    server.fault = ""
    assert get(server).read_bytes() == BODY


def test_a_file_that_changed_in_the_cache_is_not_used(server):
    path = get(server)
    path.write_bytes(b"else")
    with pytest.raises(UserError, match="Remove the file"):
        get(server)
    assert path.read_bytes() == b"else"  # it may be the user's own


def test_the_hubs_checksum_is_believed_and_kept(server):
    path = get(server, "/hub/model.safetensors", "")
    assert path.read_bytes() == BODY
    assert path.with_name("x.pth.sha256").read_text() == DIGEST
    path.write_bytes(b"else")
    with pytest.raises(UserError, match="is not what"):
        get(server, "/hub/model.safetensors", "")


def test_what_the_hub_says_is_checked(server):
    server.told = "0" * 64
    with pytest.raises(UserError, match="not with 0000"):
        get(server, "/hub/model.safetensors", "")
    assert not (cache_folder() / "x.pth").exists()


def test_without_any_checksum_the_first_fetch_is_recorded(server):
    server.told = ""
    path = get(server, "/plain", "")
    assert path.with_name("x.pth.sha256").read_text() == DIGEST


@pytest.mark.parametrize("fault", ["404", "gone"])
def test_without_the_file_or_a_network_it_says_where_to_put_it(server, fault):
    server.fault = fault
    url = server.url if fault == "404" else "http://127.0.0.1:1"
    with pytest.raises(UserError) as caught:
        fetch(f"{url}/x.pth", "x.pth", "", Quiet())
    assert f"save it as {cache_folder() / 'x.pth'}" in str(caught.value)
    assert "\\n" not in str(caught.value)


def test_a_file_put_there_by_hand_is_taken(server):
    cache_folder().mkdir()
    (cache_folder() / "x.pth").write_bytes(BODY)
    assert get(server).read_bytes() == BODY
    assert server.ranges == []
