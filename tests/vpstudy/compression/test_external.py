"""Checkpoints from outside: fetched with a checksum, refused where they do not fit, measured."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from safetensors.torch import save

from vpstudy.compression.external import fetch, load_into
from vpstudy.models.architectures import ARCHITECTURES
from vpstudy.models.backbones import Backbone

CONTENT = save({"weight": torch.arange(5000.0)})
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """Serves CONTENT, and breaks the first answer off in the middle."""

    class Handler(BaseHTTPRequestHandler):
        asked: list[str | None] = []  # noqa: RUF012 (one list for each server)

        def do_GET(self):
            wanted = self.headers.get("Range")
            self.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            body = CONTENT[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if len(self.asked) == 1 else body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.asked = Handler.asked
        yield server, f"http://127.0.0.1:{server.server_port}/net.safetensors"
        server.shutdown()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    server, url = server
    path = fetch(url, SHA, tmp_path, pause=0)
    assert path.read_bytes() == CONTENT
    assert server.asked[0] is None and server.asked[1] == f"bytes={len(CONTENT) // 2}-"
    assert fetch(url, SHA, tmp_path) == path and len(server.asked) == 2  # once is enough
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_wrong_checksum_is_named_and_nothing_is_left(server, tmp_path):
    with pytest.raises(ValueError, match=f"SHA-256 is {SHA}, expected {'0' * 64}"):
        fetch(server[1], "0" * 64, tmp_path, pause=0)
    assert not list(tmp_path.iterdir())


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"only \.safetensors"):
        fetch("net.pt", None, tmp_path)
    with pytest.raises(ValueError, match="https"):
        fetch("http://example.org/net.safetensors", SHA, tmp_path)
    with pytest.raises(ValueError, match="needs its sha256"):
        fetch("https://example.org/net.safetensors", None, tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        fetch(str(tmp_path / "none.safetensors"), None, tmp_path)


@pytest.fixture
def backbone():
    return Backbone(ARCHITECTURES["cnn"], ["a", "b"])


@pytest.mark.parametrize("prefix", ["", "model."])
def test_sparsity_is_measured(backbone, tmp_path, prefix):
    state = {
        key: value.clone(memory_format=torch.contiguous_format) for key, value in backbone.model.state_dict().items()
    }
    pruned = next(iter(backbone.prunable))
    state[pruned].flatten()[:17] = 0
    path = tmp_path / "net.safetensors"
    path.write_bytes(save({prefix + key: value.contiguous() for key, value in state.items()}))
    other = Backbone(ARCHITECTURES["cnn"], ["a", "b"], seed=1)
    mask = load_into(other, path)
    assert mask.size - mask.kept == 17
    assert all(torch.equal(state[key], value) for key, value in other.model.state_dict().items())


def test_all_that_does_not_fit_is_one_error(backbone, tmp_path):
    state = {key: value.contiguous() for key, value in backbone.model.state_dict().items()}
    del state["bn1.bias"]
    state["bn1.weight"], state["extra"] = torch.ones(3), torch.ones(1)
    path = tmp_path / "net.safetensors"
    path.write_bytes(save(state))
    with pytest.raises(ValueError, match="does not fit") as error:
        load_into(backbone, path)
    for part in ("1 missing (bn1.bias)", "1 not in the backbone (extra)", "bn1.weight is [3], not [16]"):
        assert part in str(error.value), str(error.value)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="no complete safetensors"):
        load_into(backbone, path)
